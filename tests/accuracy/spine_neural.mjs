// What lies in the canal of a CT and leaves it, on phantoms that were not used in tuning (seeds from 131; tuning saw
// 1 … 14). The baseline beside it is a window of Hounsfield units for each structure. Two minutes on two cores.
import { join } from 'node:path';
import { Table, atLeast, fixed, must, readJson, tool, withScratch } from './lib.mjs';
import { mapLabels } from './labels.mjs';
import { loadVolume, saveVolume } from './volumes.mjs';

// Of the truth: cord 111, sac with cauda equina 112, roots 113, ligament 114. Of ours: 103, 102, 104, 105.
const structures = [
    { name: 'cord', truth: 111, ours: 103, gate: 0.85, hu: [25, 55] },
    { name: 'sac and cauda', truth: 112, ours: 102, gate: 0.85, hu: [-10, 24] },
    { name: 'roots', truth: 113, ours: 104, gate: 0.6, hu: [25, 70] },
    { name: 'ligamentum flavum', truth: 114, ours: 105, gate: 0.5, hu: [71, 110] },
];
const cases = [
    { name: 'seed 131', args: ['--seed', '131'] },
    { name: 'seed 132, turned 8×5×-10°', args: ['--seed', '132', '--pose', '8x5x-10'] },
    { name: 'seed 133, noise 35 HU', args: ['--seed', '133', '--noise', '35'] },
    { name: 'seed 134, 0.9×0.9×2 mm', args: ['--seed', '134', '--spacing', '0.9x0.9x2'] },
    { name: 'seed 135, 1 mm', args: ['--seed', '135', '--spacing', '1x1x1'] },
    { name: 'seed 136, 1.3 mm, noise 20 HU', args: ['--seed', '136', '--spacing', '1.3x1.3x1.3', '--noise', '20'] },
    { name: 'seed 137, cropped to 190×190×200 mm', args: ['--seed', '137', '--size', '271x271x250', '--spacing', '0.7x0.7x0.8', '--shift', '0x0x-10'] },
    { name: 'seed 138', args: ['--seed', '138'] },
];

const scores = (dir, truth, ours) => {
    must('kerf-job', ['compare', '--a', truth, '--b', ours, '--out', join(dir, 'c.json'), '--quiet']);
    return new Map(readJson(join(dir, 'c.json')).labels.map((l) => [l.label, l]));
};

const table = new Table('segment.spine: cord, cauda equina, roots, ligamentum flavum in CT',
    'Made by `tests/accuracy/run spine_neural`. Gates (Dice), ours since no source names one for CT: cord ≥ 0.85, dural sac with cauda equina ≥ 0.85, roots ≥ 0.6, ligamentum flavum ≥ 0.5. The truth of a root reaches from the sac to 20 mm beyond the pedicle.');
table.section('CT phantoms', ['case', 'structure', 'Dice', 'ASSD mm', 'HD95 mm', 'volume error', 'confidence', 'window of HU: Dice', 'holds']);
await withScratch(async (dir) => {
    const at = (name) => join(dir, name);
    for (const c of cases) {
        must('kerf', ['phantom', 'spine', '--out', at(c.name), '--truth', at('t'), ...c.args]);
        must('kerf-job', ['import', '--in', at(c.name), '--out', at('ct.nii'), '--quiet']);
        const run = tool('kerf-job', ['segment.spine', '--image', at('ct.nii'), '--out', at('s.nii.gz'), '--quiet']);
        if (run.code !== 0) {
            table.row([c.name, `refused (${run.code})`, ...Array(6).fill(''), 'no'], false);
            continue;
        }
        mapLabels(at('t/labels.nii.gz'), at('a.nii.gz'), (l) => structures.find((s) => s.truth === l)?.ours ?? 0);
        mapLabels(at('s.nii.gz'), at('b.nii.gz'), (l) => structures.find((s) => s.ours === l)?.ours ?? 0);
        const image = loadVolume(at('ct.nii'));
        const plain = Uint8Array.from(image.v, (hu) => structures.find((s) => hu >= s.hu[0] && hu <= s.hu[1])?.ours ?? 0);
        saveVolume(at('p.nii.gz'), { ...image, type: 2, v: plain });
        const found = scores(dir, at('a.nii.gz'), at('b.nii.gz')), window = scores(dir, at('a.nii.gz'), at('p.nii.gz'));
        const segments = new Map(readJson(at('s.json')).segments.map((s) => [s.label, s]));
        for (const s of structures) {
            const f = found.get(s.ours), ok = atLeast(f?.dice, s.gate) && !atLeast(window.get(s.ours)?.dice, s.gate);
            console.log(c.name, s.name, fixed(f?.dice));
            table.row([c.name, s.name, fixed(f?.dice), fixed(f?.assd_mm, 2), fixed(f?.hd95_mm, 2), `${fixed(100 * Math.abs(f?.b_ml / f?.a_ml - 1), 1)} %`,
                fixed(segments.get(s.ours)?.confidence, 2), fixed(window.get(s.ours)?.dice), ok ? 'yes' : 'no'], ok);
        }
    }
});
process.exit(table.write(new URL('spine_neural.md', import.meta.url).pathname) ? 0 : 1);

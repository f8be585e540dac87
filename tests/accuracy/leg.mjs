// segment.leg against phantoms of known truth (held-out seeds): poses, noise, spacing, crops, both legs, other orders of
// the axes, metal; and other parts of the body, where it must refuse. Beside it the plain threshold and largest pieces.
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Table, atLeast, data, fixed, must, readJson, tool, withScratch } from './lib.mjs';
import { joinInner, largestPieces, mapLabels } from './labels.mjs';
import { addMetal, crop, loadVolume, reorder, saveVolume, sideBySide } from './volumes.mjs';

const bound = 0.96;
const names = { 1: 'left tibia', 2: 'left fibula', 3: 'right tibia', 4: 'right fibula' };
const third = (from, to) => (vol) => crop(vol, [0, 0, Math.round(from * vol.dim[2])], [vol.dim[0], vol.dim[1], Math.round(to * vol.dim[2])]);
const cases = [
    { title: 'left', options: ['--seed', '701'] },
    { title: 'right', options: ['--seed', '702', '--side', 'right'] },
    { title: 'turned', options: ['--seed', '703', '--pose', '14x-12x20'] },
    { title: 'turned back', options: ['--seed', '704', '--side', 'right', '--pose', '-14x10x-20'] },
    { title: 'noise 40 HU', options: ['--seed', '705', '--noise', '40'] },
    { title: 'noise 70 HU, blur 0.8 mm', options: ['--seed', '706', '--noise', '70', '--blur', '0.8', '--side', 'right'] },
    { title: 'voxels of 1 x 1 x 2 mm', options: ['--seed', '707', '--spacing', '1x1x2'] },
    { title: 'voxels of 0.5 x 0.5 x 1.25 mm', options: ['--seed', '708', '--spacing', '0.5x0.5x1.25', '--side', 'right'] },
    { title: 'knee end only', options: ['--seed', '709'], change: third(0.62, 0.95) },
    { title: 'shafts only', options: ['--seed', '710', '--side', 'right'], change: third(0.35, 0.6) },
    { title: 'ankle end only', options: ['--seed', '711'], change: third(0.02, 0.35) },
    { title: 'no foot, no knee joint', options: ['--seed', '712', '--pose', '8x5x0'], change: third(0.2, 0.8) },
    { title: 'sagittal slices', options: ['--seed', '713', '--side', 'right'], change: (vol) => reorder(vol, [1, 2, 0], [0, 1, 0]) },
    { title: 'coronal slices, feet first', options: ['--seed', '714'], change: (vol) => reorder(vol, [0, 2, 1], [1, 1, 0]) },
    { title: 'mirrored order of voxels', options: ['--seed', '715'], change: (vol) => reorder(vol, [0, 1, 2], [1, 0, 0]) },
    { title: 'both legs', options: ['--seed', '716'], other: ['--seed', '717'] },
    { title: 'screws in the tibia', options: ['--seed', '718'], metal: 140 },
    { title: 'screws in the fibula', options: ['--seed', '719', '--side', 'right'], metal: 141 },
];

// Truth labels in the job's numbers; the marrow was given to its bone before.
const truthLabel = (right) => (l) => (l === 140 ? (right ? 3 : 1) : l === 141 ? (right ? 4 : 2) : 0);

// An image and its truth, as one or two phantoms.
function make(dir, name, options) {
    const at = (file) => join(dir, file);
    must('kerf', ['phantom', 'leg', '--out', at('d'), '--truth', at('t'), ...options]);
    must('kerf-job', ['import', '--in', at('d'), '--out', at(`${name}.nii`), '--quiet']);
    joinInner(at('t/labels.nii.gz'), at(`${name}-truth.nii.gz`), 147, [140, 141, 142]);
    const image = loadVolume(at(`${name}.nii`)), raw = loadVolume(at(`${name}-truth.nii.gz`));
    mapLabels(at(`${name}-truth.nii.gz`), at(`${name}-truth.nii.gz`), truthLabel(options.includes('right')));
    rmSync(at('d'), { recursive: true });
    return { image, raw, truth: loadVolume(at(`${name}-truth.nii.gz`)) };
}

function prepare(dir, test) {
    const made = make(dir, 'a', test.options);
    let { image, truth } = made;
    if (test.metal) addMetal(image, made.raw, test.metal, Math.round(0.4 * image.dim[2]), Math.round(0.55 * image.dim[2]));
    if (test.other) { // the patient's right leg lies at lower x, which is lower i
        const right = make(dir, 'b', [...test.other, '--side', 'right']);
        image = sideBySide(right.image, image);
        truth = sideBySide(right.truth, truth);
    }
    if (test.change) [image, truth] = [test.change(image), test.change(truth)];
    saveVolume(join(dir, 'ct.nii'), image);
    saveVolume(join(dir, 'truth.nii.gz'), truth);
}

function scores(a, b, out) {
    must('kerf-job', ['compare', '--a', a, '--b', b, '--out', out, '--quiet']);
    return Object.fromEntries((readJson(out).labels ?? []).map((s) => [s.label, s]));
}

// The plain way: bone at 250 HU, filled, its largest piece as tibia and the second as fibula, on the true side.
function plain(dir, right) {
    const at = (file) => join(dir, file);
    must('kerf-job', ['segment.bone', '--image', at('ct.nii'), '--out', at('bone.nii.gz'), '--threshold_hu', '250', '--fill_ml', '50', '--quiet']);
    largestPieces(at('bone.nii.gz'), at('plain.nii.gz'), 2);
    mapLabels(at('plain.nii.gz'), at('plain.nii.gz'), (l) => (l && right ? l + 2 : l));
    return scores(at('truth.nii.gz'), at('plain.nii.gz'), at('plain.json'));
}

function phantomRows(table, dir, test, failures) {
    const at = (file) => join(dir, file);
    prepare(dir, test);
    const run = tool('kerf-job', ['segment.leg', '--image', at('ct.nii'), '--out', at('seg.nii.gz'), '--quiet']);
    if (run.code !== 0) {
        table.row([test.title, 'both', run.stderr.match(/\[(\w+)\]/)?.[1] ?? 'failed', '', '', '', '', ''], false);
        return;
    }
    const mine = scores(at('truth.nii.gz'), at('seg.nii.gz'), at('mine.json'));
    const beside = plain(dir, test.options.includes('right'));
    const segments = readJson(at('seg.json')).segments;
    for (const label of [...new Set([...Object.keys(mine)])].map(Number).sort()) {
        const s = mine[label], sure = segments.find((t) => t.label === label)?.confidence;
        table.row([test.title, names[label] ?? 'side unconfirmed', fixed(s.dice), fixed(s.assd_mm, 2), fixed(s.hd95_mm, 2),
            fixed((100 * (s.b_ml - s.a_ml)) / s.a_ml, 1), fixed(sure, 2), fixed(beside[label]?.dice)], atLeast(s.dice, bound));
        failures.push([label, beside[label]?.dice ?? 0]);
    }
}

const refusals = [
    ['phantom spine', ['spine', '--seed', '720', '--spacing', '1x1x1']],
    ['phantom head', ['head', '--seed', '721', '--spacing', '0.9x0.9x1', '--size', '240x256x230']],
];

// A right leg of which the plain pair of bones is gone: all between tibia and fibula is bone, or the fibula was taken out.
const second = [
    ['bone between tibia and fibula', (image, raw) => {
        const [nx, ny, nz] = image.dim;
        for (let row = 0; row < ny * nz; row++) {
            const bones = raw.v.subarray(row * nx, (row + 1) * nx), of = (l) => l === 140 || l === 141;
            const first = bones.findIndex(of);
            if (first >= 0) image.v.fill(1200, row * nx + first, row * nx + bones.findLastIndex(of) + 1);
        }
    }],
    ['fibula taken out', (image, raw) => raw.v.forEach((l, n) => { if (l === 141) image.v[n] = 40; })],
];

function secondRows(table, dir) {
    const at = (file) => join(dir, file);
    const left = make(dir, 'a', ['--seed', '722']), made = make(dir, 'b', ['--seed', '723', '--side', 'right']);
    for (const [title, spoil] of second) {
        const right = { ...made.image, v: made.image.v.slice() };
        spoil(right, made.raw);
        saveVolume(at('ct.nii'), sideBySide(right, left.image));
        saveVolume(at('truth.nii.gz'), sideBySide({ ...made.truth, v: new Uint8Array(made.truth.v.length) }, left.truth));
        must('kerf-job', ['segment.leg', '--image', at('ct.nii'), '--out', at('seg.nii.gz'), '--report', at('rep'), '--quiet']);
        const dice = scores(at('truth.nii.gz'), at('seg.nii.gz'), at('mine.json'))[2]?.dice, segments = readJson(at('seg.json')).segments;
        const said = (readJson(at('rep')).warnings ?? []).map((w) => w.code), states = [...new Set(segments.map((t) => t.state))].join(', ');
        table.row([title, fixed(dice), said.join(', '), states],
            segments.length === 2 && atLeast(dice, bound) && said.includes('leg_missed') && states === 'needs review');
    }
}

function refusalRows(table, dir) {
    const at = (file) => join(dir, file), images = [];
    for (const [title, options] of refusals) {
        must('kerf', ['phantom', ...options, '--out', at('d')]);
        must('kerf-job', ['import', '--in', at('d'), '--out', at(`${options[0]}.nii`), '--quiet']);
        rmSync(at('d'), { recursive: true });
        images.push([title, at(`${options[0]}.nii`)]);
    }
    if (data) {
        must('kerf-job', ['import', '--in', join(data, 'head_ct/dicom'), '--out', at('real.nii'), '--quiet']);
        images.push(['real head', at('real.nii')], ['real thoracic spine', join(data, 'spine_ct/thoracic_1mm.nii.gz')],
            ['real abdomen', join(data, 'abdomen_ct/example_ct.nii.gz')]);
    }
    for (const [title, image] of images) {
        const run = tool('kerf-job', ['segment.leg', '--image', image, '--out', at('x.nii.gz'), '--quiet']);
        const code = run.stderr.match(/\[(\w+)\]/)?.[1];
        table.row([title, code ?? 'labels'], ['no_leg', 'no_bone', 'leg_joined'].includes(code));
    }
}

const ok = await withScratch(async (dir) => {
    const table = new Table('segment.leg', 'Made by `tests/accuracy/run leg`. Truth: phantoms of seeds that nothing was tuned on '
        + '(tuned on 101 to 109). Gate: Dice of tibia and fibula 0.96. The baseline (bone at 250 HU, filled, the largest '
        + 'piece as tibia, the second as fibula) must miss the gate for every fibula. What is refused below was looked at while the rules were made.');
    table.section('Phantoms', ['case', 'bone', 'Dice', 'ASSD mm', 'HD95 mm', 'volume error %', 'confidence', 'baseline Dice']);
    const baseline = [];
    for (const test of cases) phantomRows(table, dir, test, baseline);
    const fibulas = baseline.filter(([label]) => label % 2 === 0), missed = fibulas.filter(([, dice]) => !(dice >= bound));
    table.section('Baseline', ['figure', 'value']);
    table.row(['fibulas below the gate with the plain way', `${missed.length} of ${fibulas.length}`], fibulas.length > 0 && missed.length === fibulas.length);
    table.section('A left leg beside a right one that shows no pair', ['right leg', 'left fibula Dice', 'said', 'state']);
    secondRows(table, dir);
    table.section('Not a leg: refused with this reason', ['image', 'answer']);
    refusalRows(table, dir);
    return table.write(join(dirname(fileURLToPath(import.meta.url)), 'leg.md'));
});
process.exit(ok ? 0 : 1);

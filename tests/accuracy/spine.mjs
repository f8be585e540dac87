// segment.spine on CT phantoms that were not used in tuning (seeds from 101 to 142; tuning saw 1 … 22, 160 … 175 and
// from 201): other individuals, noise, thick slices, metal, turned and cropped ones, old bone, scoliosis, ilia beside
// the sacrum; then on real CT. Eight minutes on two cores.
// The baseline beside it is what a threshold and components give. What the field cuts off is not scored, but may not bear
// a wrong level.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Table, atLeast, fixed, must, readJson, tool, withScratch } from './lib.mjs';

// Voxels of one of our own uint8 NIfTI-1 files, and its header to write others with.
function readLabels(path) {
    const bytes = gunzipSync(readFileSync(path));
    return { head: bytes.subarray(0, 544), voxels: bytes.subarray(544) };
}
const writeLabels = (path, like, voxels) => writeFileSync(path, Buffer.concat([like.head, voxels]));

// Whole numbers of somebody else's NIfTI-1 file.
function readNifti1(path) {
    const bytes = gunzipSync(readFileSync(path)), type = bytes.readInt16LE(70), from = bytes.readFloatLE(108);
    const read = { 2: [1, 'readUInt8'], 4: [2, 'readInt16LE'], 8: [4, 'readInt32LE'], 16: [4, 'readFloatLE'], 64: [8, 'readDoubleLE'], 512: [2, 'readUInt16LE'] }[type];
    return Array.from({ length: (bytes.length - from) / read[0] }, (_, v) => bytes[read[1]](from + v * read[0]));
}

// Truth in our numbers: T10 … L5 are 17 … 24, discs + 50, the canal with all that lies in it is 101. The ligamentum
// flavum and roots count as neither.
const truthNumber = (t) => (t >= 90 && t <= 97 ? t - 73 : t === 98 ? 100 : t >= 100 && t <= 107 ? t - 33 : t >= 110 && t <= 112 ? 101 : 0);
const vertebrae = [17, 18, 19, 20, 21, 22, 23, 24];
const discs = vertebrae.map((v) => v + 50);

// Our labels in the truth's numbers, by greatest overlap: the shape is scored even where the level is not named.
function matched(ours, truth) {
    const common = new Map();
    for (let v = 0; v < ours.length; v++)
        if (ours[v] && truth[v]) {
            const key = ours[v] * 256 + truth[v];
            common.set(key, (common.get(key) ?? 0) + 1);
        }
    const to = new Uint8Array(256);
    for (let label = 1; label < 256; label++) {
        let most = 0;
        for (let t = 1; t < 256; t++) {
            const n = common.get(label * 256 + t) ?? 0;
            if (n > most) (most = n), (to[label] = t);
        }
    }
    to[102] = to[103] = 101;
    to[104] = to[105] = 0; // roots and ligament: spine_neural.mjs
    to[106] = 0; // metal, which is none of a vertebra in the truth either
    return to;
}

// Levels that were given, against the truth: how many are wrong.
const wrongLevels = (to) => vertebrae.filter((v) => to[v] && to[v] !== v).length;

const crop = (seed, shift) => ({
    name: `seed ${seed}, cropped to 190×190×200 mm, moved ${shift} mm`,
    args: ['--seed', `${seed}`, '--size', '271x271x250', '--spacing', '0.7x0.7x0.8', '--shift', `0x0x${shift}`],
    cropped: true,
});
const cases = [
    { name: 'seed 101', args: ['--seed', '101'] },
    { name: 'seed 102, turned 12×8×-15°', args: ['--seed', '102', '--pose', '12x8x-15'] },
    { name: 'seed 103, noise 35 HU', args: ['--seed', '103', '--noise', '35'] },
    { name: 'seed 104, 0.9×0.9×2 mm', args: ['--seed', '104', '--spacing', '0.9x0.9x2'] },
    { name: 'seed 105, turned -10×0×20°', args: ['--seed', '105', '--pose', '-10x0x20'] },
    crop(106, 0), crop(107, -15), crop(108, 10), crop(109, 0), crop(110, -30),
    crop(116, 0), crop(117, 20), crop(118, -10), crop(119, 0), crop(120, 15),
    { name: 'seed 111, 1 mm', args: ['--seed', '111', '--spacing', '1x1x1'] },
    { name: 'seed 112, 1.3 mm, noise 20 HU', args: ['--seed', '112', '--spacing', '1.3x1.3x1.3', '--noise', '20'] },
    { name: 'seed 113, noise 25 HU', args: ['--seed', '113', '--noise', '25'] },
    { name: 'seed 114, turned 8×-6×25°', args: ['--seed', '114', '--pose', '8x-6x25'] },
    { name: 'seed 115, 1.3 mm', args: ['--seed', '115', '--spacing', '1.3x1.3x1.3'] },
    { name: 'seed 121, screws and rods L3 to L5', args: ['--seed', '121', '--metal'] },
    { name: 'seed 122, 1 mm, screws and rods, turned 6×5×-12°', args: ['--seed', '122', '--spacing', '1x1x1', '--metal', '--pose', '6x5x-12'] },
];

// Spongy bone that has lost half of its density and more, in thinner shells (from 1 mm on they have holes of noise:
// lower bounds; from 1.3 mm on discs are less sure too); columns that lean by a Cobb angle and turn with it. Levels may
// stay unconfirmed, but not be wrong.
const hard = [
    { name: 'seed 130, spongy bone of 80 HU', args: ['--seed', '130', '--trabecular', '80'] },
    { name: 'seed 131, spongy bone of 60 HU', args: ['--seed', '131', '--trabecular', '60'] },
    { name: 'seed 132, 1 mm, spongy bone of 80 HU', args: ['--seed', '132', '--spacing', '1x1x1', '--trabecular', '80'], vertebra: 0.93 },
    { name: 'seed 133, 1 mm, spongy bone of 60 HU, noise 20 HU', args: ['--seed', '133', '--spacing', '1x1x1', '--trabecular', '60', '--noise', '20'], vertebra: 0.92 },
    { name: 'seed 141, 1.3 mm, spongy bone of 80 HU', args: ['--seed', '141', '--spacing', '1.3x1.3x1.3', '--trabecular', '80'], vertebra: 0.92, disc: 0.86 },
    { name: 'seed 142, 0.9×0.9×2 mm, spongy bone of 80 HU', args: ['--seed', '142', '--spacing', '0.9x0.9x2', '--trabecular', '80'], vertebra: 0.93, disc: 0.8 },
    { name: 'seed 134, 1 mm, scoliosis of 15°', args: ['--seed', '134', '--spacing', '1x1x1', '--scoliosis', '15'] },
    { name: 'seed 135, 1 mm, scoliosis of 30° to the left', args: ['--seed', '135', '--spacing', '1x1x1', '--scoliosis', '-30'] },
    { name: 'seed 136, 1 mm, scoliosis of 45°', args: ['--seed', '136', '--spacing', '1x1x1', '--scoliosis', '45'] },
].map((c) => ({ ...c, kind: 'hard', canal: 0.87 }));

// Labels that reach the border of the image.
function cutOff(path, voxels) {
    const head = readLabels(path).head, [nx, ny, nz] = [42, 44, 46].map((at) => head.readInt16LE(at));
    const cut = new Set();
    for (let v = 0, k = 0; k < nz; k++)
        for (let j = 0; j < ny; j++)
            for (let i = 0; i < nx; i++, v++)
                if (!i || !j || !k || i === nx - 1 || j === ny - 1 || k === nz - 1) cut.add(voxels[v]);
    return cut;
}

function scores(dir, truth, ours) {
    must('kerf-job', ['compare', '--a', truth, '--b', ours, '--out', join(dir, 'c.json'), '--quiet']);
    return new Map(readJson(join(dir, 'c.json')).labels.map((l) => [l.label, l]));
}

function figures(found, labels, present) {
    const list = labels.filter((l) => present.has(l)).map((l) => found.get(l) ?? {});
    const worst = (key, pick) => pick(...list.map((s) => (Number.isFinite(s[key]) ? s[key] : key === 'dice' ? 0 : NaN)));
    const mean = (f) => list.reduce((sum, s) => sum + f(s), 0) / list.length;
    return {
        mean: mean((s) => s.dice ?? 0),
        worst: worst('dice', Math.min),
        assd: mean((s) => s.assd_mm ?? NaN),
        hd95: worst('hd95_mm', Math.max),
        volume: mean((s) => Math.abs(s.b_ml / s.a_ml - 1)),
    };
}

const table = new Table('segment.spine', 'Made by `tests/accuracy/run spine`. Gates: every vertebra ≥ 0.95, every disc ≥ 0.88, canal ≥ 0.92 (Dice), no wrong level. In old bone at 1 mm vertebrae ≥ 0.93, with noise ≥ 0.92; at 1.3 mm vertebrae ≥ 0.92, discs ≥ 0.86; in slices of 2 mm ≥ 0.93 and ≥ 0.80; there and in scoliosis canal ≥ 0.87. A row that misses one is marked.');
const heads = ['case', 'levels', 'wrong levels', 'vertebrae: mean, worst Dice', 'ASSD mm', 'worst HD95 mm', 'volume error', 'discs: mean, worst Dice', 'canal Dice', 'threshold and components: mean Dice', 'holds'];
table.section('CT phantoms', heads);
// Dice of a label of somebody else's with the one of ours that shares most of its voxels.
function bestDice(ours, theirs, label) {
    const common = new Map(), size = new Map();
    let count = 0;
    ours.forEach((v, at) => {
        size.set(v, (size.get(v) ?? 0) + 1);
        count += theirs[at] === label;
        if (v && theirs[at] === label) common.set(v, (common.get(v) ?? 0) + 1);
    });
    const [best, n] = [...common].sort((a, b) => b[1] - a[1])[0] ?? [0, 0];
    return { best, dice: (2 * n) / (count + (size.get(best) ?? 0)) };
}

// Real CT of 3 mm against labels that a tool made (evidence, not truth): 27 … 32 are L5 … T12; T11 is a sliver at the border.
function realAbdomen(dir, data) {
    table.section('Real abdomen, 3 mm, against tool labels', ['vertebra', 'Dice', 'confidence', 'holds']);
    const ours = join(dir, 'r.nii.gz');
    must('kerf-job', ['segment.spine', '--image', join(data, 'example_ct.nii.gz'), '--out', ours, '--quiet']);
    const segments = new Map(readJson(join(dir, 'r.json')).segments.map((x) => [x.label, x]));
    const s = readLabels(ours), tool = readNifti1(join(data, 'example_seg_fast_force_split.nii.gz'));
    for (let label = 27; label <= 32; label++) {
        const { best, dice } = bestDice(s.voxels, tool, label), ok = atLeast(dice, 0.85);
        table.row([label <= 31 ? `L${32 - label}` : 'T12', fixed(dice), fixed(segments.get(best)?.confidence ?? 0, 2), ok ? 'yes' : 'no'], ok);
    }
    // It must be called one; how much of it is found is not gated, as ours ends 60 mm below the canal. The tool draws S1 (26)
    // apart from the rest (25).
    const sacrum = bestDice(s.voxels, tool.map((v) => (v === 26 ? 25 : v)), 25);
    table.row(['sacrum', fixed(sacrum.dice), fixed(segments.get(sacrum.best)?.confidence ?? 0, 2), sacrum.best === 100 ? 'yes, as a sacrum' : 'no'], sacrum.best === 100);
}

// Real CT of 1.5 mm against the labels it came with: 21 … 23 are L2 … L4, of which the field cuts the outer two. Old marrow, as
// dark as a disc.
function labelledCrop(dir, data) {
    table.section('Real lumbar crop, 1.5 mm, against the labels it came with', ['vertebra', 'Dice', 'holds']);
    const ours = join(dir, 'l.nii.gz');
    must('kerf-job', ['segment.spine', '--image', join(data, 'sub-ct_label-22_ct.nii.gz'), '--out', ours, '--quiet']);
    const s = readLabels(ours), truth = readNifti1(join(data, 'sub-ct_seg-vert_label-22_msk.nii.gz'));
    for (let label = 21; label <= 23; label++) {
        const dice = bestDice(s.voxels, truth, label).dice, ok = atLeast(dice, 0.85);
        table.row([`L${label - 19}`, fixed(dice), ok ? 'yes' : 'no'], ok);
    }
}

// No truth: one label per vertebra, none merged or split, so none differs much in volume from both beside it.
function realThorax(dir, data) {
    table.section('Real thorax, 1 mm', ['levels', 'vertebrae', 'discs', 'volume against the mean of the neighbours', 'holds']);
    const ours = join(dir, 'x.nii.gz');
    must('kerf-job', ['segment.spine', '--image', join(data, 'thoracic_1mm.nii.gz'), '--out', ours, '--quiet']);
    const found = readJson(join(dir, 'x.json')), ml = (l) => found.segments.find((x) => x.label === l)?.volume_ml ?? 0;
    const bones = found.segments.map((x) => x.label).filter((l) => l < 50), ratios = [];
    for (const l of bones.slice(2, -2)) ratios.push((2 * ml(l)) / (ml(l - 1) + ml(l + 1)));
    const [least, most] = [Math.min(...ratios), Math.max(...ratios)], ok = ratios.length > 6 && atLeast(least, 0.65) && most <= 1.5;
    table.row([found.levels, bones.length, found.segments.filter((x) => x.label > 50 && x.label < 100).length, `${fixed(least, 2)} … ${fixed(most, 2)}`, ok ? 'yes' : 'no'], ok);
}

// Ilia whose joints with the sacrum are narrow, usual and wide. Truth as above, and 130 is the ilia.
const pelves = [
    { name: 'seed 127, joints of 0.3 mm', args: ['--seed', '127', '--pelvis', '0.3'] },
    { name: 'seed 128, 1 mm, joints of 1.5 mm, noise 20 HU', args: ['--seed', '128', '--spacing', '1x1x1', '--pelvis', '1.5', '--noise', '20'] },
    { name: 'seed 129, 1 mm, joints of 4 mm, turned 6×-5×10°', args: ['--seed', '129', '--spacing', '1x1x1', '--pelvis', '4', '--pose', '6x-5x10'] },
];

function besideIlia(dir) {
    table.section('Sacrum beside ilia', ['case', 'levels', 'wrong levels', 'sacrum Dice', 'HD95 mm', 'volume error', 'L5 Dice', 'of the sacrum ilium', 'holds']);
    for (const c of pelves) {
        must('kerf', ['phantom', 'spine', '--out', join(dir, c.name), '--truth', join(dir, 't'), ...c.args]);
        must('kerf-job', ['import', '--in', join(dir, c.name), '--out', join(dir, 'ct.nii'), '--quiet']);
        must('kerf-job', ['segment.spine', '--image', join(dir, 'ct.nii'), '--out', join(dir, 's.nii.gz'), '--quiet']);
        const t = readLabels(join(dir, 't', 'labels.nii.gz')), s = readLabels(join(dir, 's.nii.gz'));
        const truth = t.voxels.map(truthNumber), to = matched(s.voxels, truth), mine = s.voxels.map((v) => to[v]);
        writeLabels(join(dir, 'a.nii'), t, truth);
        writeLabels(join(dir, 'b.nii'), s, mine);
        const found = scores(dir, join(dir, 'a.nii'), join(dir, 'b.nii')), sacrum = found.get(100) ?? {};
        let ours = 0, astray = 0;
        mine.forEach((v, n) => v === 100 && (ours++, (astray += t.voxels[n] === 130)));
        const levels = readJson(join(dir, 's.json')).levels, wrong = levels === 'named' ? wrongLevels(to) : 0;
        const ok = atLeast(sacrum.dice, 0.9) && atLeast(found.get(24)?.dice, 0.95) && wrong === 0;
        table.row([c.name, levels, wrong, fixed(sacrum.dice), fixed(sacrum.hd95_mm, 2), `${fixed(100 * (sacrum.b_ml / sacrum.a_ml - 1), 1)} %`,
            fixed(found.get(24)?.dice), `${fixed((100 * astray) / ours, 1)} %`, ok ? 'yes' : 'no'], ok);
    }
}

const tallied = { cropped: [], whole: [], hard: [] };
function phantomRow(dir, c) {
    must('kerf', ['phantom', 'spine', '--out', join(dir, c.name), '--truth', join(dir, 't'), ...c.args]);
    must('kerf-job', ['import', '--in', join(dir, c.name), '--out', join(dir, 'ct.nii'), '--quiet']);
    const run = tool('kerf-job', ['segment.spine', '--image', join(dir, 'ct.nii'), '--out', join(dir, 's.nii.gz'), '--quiet']);
    if (run.code !== 0) {
        table.row([c.name, `refused (${run.code})`, ...Array(8).fill(''), 'no'], false);
        return;
    }
    const t = readLabels(join(dir, 't', 'labels.nii.gz')), s = readLabels(join(dir, 's.nii.gz'));
    const truth = t.voxels.map(truthNumber), to = matched(s.voxels, truth), cut = cutOff(join(dir, 't', 'labels.nii.gz'), truth);
    const present = new Set(truth.filter((l) => !cut.has(l)));
    writeLabels(join(dir, 'a.nii'), t, truth);
    writeLabels(join(dir, 'b.nii'), s, s.voxels.map((v) => to[v]));
    const found = scores(dir, join(dir, 'a.nii'), join(dir, 'b.nii'));
    const v = figures(found, vertebrae, present), d = figures(found, discs, present), canal = found.get(101)?.dice ?? 0;
    must('kerf-job', ['segment.bone', '--image', join(dir, 'ct.nii'), '--out', join(dir, 'bone.nii.gz'), '--quiet']);
    const bone = readLabels(join(dir, 'bone.nii.gz')), one = matched(bone.voxels, truth);
    writeLabels(join(dir, 'b.nii'), bone, bone.voxels.map((x) => one[x]));
    const plain = figures(scores(dir, join(dir, 'a.nii'), join(dir, 'b.nii')), vertebrae, present);
    const levels = readJson(join(dir, 's.json')).levels, wrong = levels === 'named' ? wrongLevels(to) : 0;
    tallied[c.kind ?? (c.cropped ? 'cropped' : 'whole')].push(levels === 'named');
    const ok = atLeast(v.worst, c.vertebra ?? 0.95) && atLeast(d.worst, c.disc ?? 0.88) && atLeast(canal, c.canal ?? 0.92) && wrong === 0 && plain.mean < 0.5;
    console.log(c.name, levels, wrong, fixed(v.mean), fixed(v.worst), fixed(d.mean), fixed(d.worst), fixed(canal), fixed(plain.mean));
    table.row([c.name, levels, wrong, `${fixed(v.mean)}, ${fixed(v.worst)}`, fixed(v.assd, 2), fixed(v.hd95, 2), `${fixed(100 * v.volume, 1)} %`, `${fixed(d.mean)}, ${fixed(d.worst)}`, fixed(canal), fixed(plain.mean), ok ? 'yes' : 'no'], ok);
}

await withScratch(async (dir) => {
    for (const c of cases) phantomRow(dir, c);
    const share = (list) => list.filter((named) => !named).length / list.length;
    table.section('Levels left unconfirmed', ['phantoms', 'cases', 'share', 'bound', 'holds']);
    for (const [kind, bound] of [['whole', 0.05], ['cropped', 0.2]]) {
        const ok = tallied[kind].length > 0 && share(tallied[kind]) <= bound;
        table.row([kind, tallied[kind].length, `${fixed(100 * share(tallied[kind]), 0)} %`, `${100 * bound} %`, ok ? 'yes' : 'no'], ok);
    }
    table.section('Old bone and scoliosis', heads);
    for (const c of hard) phantomRow(dir, c);
    besideIlia(dir);
    const data = process.env.KERF_TEST_DATA;
    if (data) {
        realAbdomen(dir, join(data, 'abdomen_ct'));
        labelledCrop(dir, join(data, 'spine_ct', 'labelled_crop'));
        realThorax(dir, join(data, 'spine_ct'));
    }
});
process.exit(table.write(new URL('spine.md', import.meta.url).pathname) ? 0 : 1);

// segment.spine on MR: phantoms that were not used in tuning (seeds from 141; tuning saw 1 … 5), then the one real crop
// with labels. The baseline beside it levels the shading, takes what is like the true marrow, cuts thin bridges and gives
// its largest pieces the labels of the truth that they meet most. Five minutes on two cores.
import { join } from 'node:path';
import { Table, atLeast, fixed, must, readJson, tool, withScratch } from './lib.mjs';
import { largestPieces, mapLabels } from './labels.mjs';
import { loadVolume, saveVolume } from './volumes.mjs';

const range = (from, count) => Array.from({ length: count }, (_, n) => from + n);
const vertebrae = range(90, 8), discs = range(100, 8);
const cases = [
    { name: 'seed 141', args: ['--seed', '141'] },
    { name: 'seed 142, noise 35', args: ['--seed', '142', '--noise', '35'] },
    { name: 'seed 143, shading 0.5, turned 8×-6×-12°', args: ['--seed', '143', '--bias', '0.5', '--pose', '8x-6x-12'] },
    { name: 'seed 144, 1.2×1.2×2 mm', args: ['--seed', '144', '--spacing', '1.2x1.2x2'] },
    { name: 'seed 145, cropped to 190×190×192 mm', args: ['--seed', '145', '--size', '238x238x160', '--spacing', '0.8x0.8x1.2', '--shift', '7x-5x-20'] },
    { name: 'seed 146', args: ['--seed', '146'] },
    { name: 'seed 147, 0.8×0.8×4 mm', args: ['--seed', '147', '--spacing', '0.8x0.8x4', '--size', '300x300x75'], thick: true },
    { name: 'seed 148, marrow of arches at 0.7', args: ['--seed', '148'], arches: 0.7 },
    { name: 'seed 149, 1.2×1.2×2 mm, marrow of arches at 0.7', args: ['--seed', '149', '--spacing', '1.2x1.2x2'], arches: 0.7 },
];

// What each of our labels is in the truth, by greatest overlap; each of the truth is taken once.
function matched(ours, truth) {
    const common = new Map();
    ours.forEach((label, v) => {
        if (label && truth[v]) common.set(label * 256 + truth[v], (common.get(label * 256 + truth[v]) ?? 0) + 1);
    });
    const to = new Uint8Array(256), taken = new Set();
    for (const [key] of [...common].sort((a, b) => b[1] - a[1])) {
        const label = key >> 8, t = key & 255;
        if (!to[label] && !taken.has(t)) (to[label] = t), taken.add(t);
    }
    return to;
}

function compare(dir, a, b) {
    must('kerf-job', ['compare', '--a', a, '--b', b, '--out', join(dir, 'c.json'), '--quiet']);
    return new Map(readJson(join(dir, 'c.json')).labels.map((l) => [l.label, l]));
}
const mean = (found, list) => list.reduce((sum, l) => sum + (found.get(l)?.dice ?? 0), 0) / list.length;
const worst = (found, list) => Math.min(...list.map((l) => found.get(l)?.dice ?? 0));

// Labels that touch no border of the image: what is cut off is not scored.
function whole(map) {
    const [nx, ny, nz] = map.dim, cut = new Set();
    map.v.forEach((l, v) => {
        const i = v % nx, j = Math.floor(v / nx) % ny, k = Math.floor(v / (nx * ny));
        if (!i || !j || !k || i === nx - 1 || j === ny - 1 || k === nz - 1) cut.add(l);
    });
    return (l) => !cut.has(l) && map.v.includes(l);
}

// Sums over `reach` voxels to both sides along one axis, in place.
function boxSum(values, dim, axis, reach) {
    const step = [1, dim[0], dim[0] * dim[1]][axis], length = dim[axis], line = new Float64Array(length + 1);
    for (let start = 0; start < values.length; start++) {
        if (Math.floor(start / step) % length) continue;
        for (let n = 0; n < length; n++) line[n + 1] = line[n] + values[start + n * step];
        for (let n = 0; n < length; n++) values[start + n * step] = line[Math.min(length, n + reach + 1)] - line[Math.max(0, n - reach)];
    }
}

// The image over its geometric mean within about 40 mm, without air.
function levelled(image) {
    const bright = image.v.reduce((sum, x) => sum + x, 0) / image.v.length / 4;
    const sum = Float64Array.from(image.v, (x) => (x > bright ? Math.log(x) : 0)), count = Float64Array.from(image.v, (x) => (x > bright ? 1 : 0));
    for (let axis = 0; axis < 3; axis++) {
        const reach = Math.round(40 / Math.hypot(...image.affine.map((row) => row[axis])));
        boxSum(sum, image.dim, axis, reach);
        boxSum(count, image.dim, axis, reach);
    }
    return Float32Array.from(image.v, (x, v) => (x > bright ? x / Math.exp(sum[v] / count[v]) : 0));
}

// What a threshold can do at best: what is within 25 % of the median of the true bone, which is marrow, without bridges a
// voxel or two thin, in its largest pieces, each grown back by that voxel. Labels of the truth by greatest overlap.
function thresholdAndPieces(at, image, bone) {
    const level = levelled(image), [nx, ny, nz] = image.dim, beside = [-1, 1, -nx, nx, -nx * ny, nx * ny];
    const values = level.filter((_, v) => bone[v]).sort(), marrow = values[values.length >> 1];
    const like = Uint8Array.from(level, (x) => (Math.abs(x / marrow - 1) < 0.25 ? 1 : 0)), core = new Uint8Array(like.length);
    const each = (visit) => {
        for (let k = 1; k < nz - 1; k++) for (let j = 1; j < ny - 1; j++) for (let i = 1, v = (k * ny + j) * nx + 1; i < nx - 1; i++, v++) visit(v);
    };
    each((v) => { core[v] = like[v] && beside.every((d) => like[v + d]) ? 1 : 0; });
    saveVolume(at('p.nii.gz'), { ...image, type: 2, v: core });
    largestPieces(at('p.nii.gz'), at('q.nii.gz'), 60);
    const pieces = loadVolume(at('q.nii.gz')).v, to = matched(pieces, bone), named = pieces.map((l) => to[l]), grown = named.slice();
    each((v) => { if (like[v] && !named[v]) grown[v] = named[v + (beside.find((d) => named[v + d]) ?? 0)]; });
    return { ...image, type: 2, v: grown };
}

// Bone behind the canal's front wall made darker, as in real backs whose arches hold less fat than bodies: `share` of its
// value from 3 mm before the canal's middle backwards, all of it from 9 mm on.
function dimArches(image, truth, share) {
    const [nx, ny, nz] = image.dim, out = image.v.slice(), row = image.affine[1];
    for (let k = 0; k < nz; k++) {
        const slice = Array.from({ length: nx * ny }, (_, n) => n + nx * ny * k), canal = slice.filter((v) => truth.v[v] >= 110 && truth.v[v] <= 112);
        if (!canal.length) continue;
        const front = (v) => row[0] * (v % nx) + row[1] * (Math.floor(v / nx) % ny), middle = canal.reduce((sum, v) => sum + front(v), 0) / canal.length;
        for (const v of slice.filter((v) => truth.v[v] >= 90 && truth.v[v] <= 97))
            out[v] = Math.round(image.v[v] * (1 - (1 - share) * Math.min(1, Math.max(0, (9 - front(v) + middle) / 6))));
    }
    return { ...image, v: out };
}

// Whether each voxel of the labelled crop lies behind the foremost voxel of the canal (60, 61) at its height.
function behindCanal(map) {
    const [nx, ny] = map.dim, along = (r, v) => map.affine[r][0] * (v % nx) + map.affine[r][1] * (Math.floor(v / nx) % ny) + map.affine[r][2] * Math.floor(v / (nx * ny));
    const front = new Map(), height = (v) => Math.round(along(2, v) / 1.5);
    map.v.forEach((l, v) => { if (l === 60 || l === 61) front.set(height(v), Math.max(front.get(height(v)) ?? -1e9, along(1, v))); });
    return Uint8Array.from(map.v, (_, v) => (along(1, v) <= (front.get(height(v)) ?? -1e9) ? 1 : 0));
}

const table = new Table('segment.spine: MR',
    'Made by `tests/accuracy/run spine_mr`. Gates are what the best published method for lumbar MR reaches with learned weights (Dice, means): vertebrae ≥ 0.95, discs ≥ 0.87, neural structures (dural sac with all in it) ≥ 0.92, the whole canal likewise; ours, since no source names them: cord ≥ 0.85 as in CT, roots ≥ 0.70; no level may be named. Slices of 4 mm, and marrow of arches at 0.7 of the bodies\': vertebrae ≥ 0.85, which is asked of real CT of 3 mm, and no name; all else is shown. A row that misses one is marked.');
table.section('T2 phantoms', ['case', 'levels', 'vertebrae: mean, worst', 'discs: mean, worst', 'canal', 'sac with cord', 'cord', 'roots', 'ligamentum flavum', 'threshold and pieces: vertebrae', 'holds']);
await withScratch(async (dir) => {
    const at = (name) => join(dir, name);
    for (const c of cases) {
        must('kerf', ['phantom', 'spine-mr', '--out', at(c.name), '--truth', at('t'), ...c.args]);
        must('kerf-job', ['import', '--in', at(c.name), '--out', at('mr.nii'), '--quiet']);
        if (c.arches) saveVolume(at('mr.nii'), dimArches(loadVolume(at('mr.nii')), loadVolume(at('t/labels.nii.gz')), c.arches));
        const input = c.arches ? [at('mr.nii'), '--modality', 'mr'] : [at(c.name)];
        const run = tool('kerf-job', ['segment.spine', '--image', ...input, '--out', at('s.nii.gz'), '--quiet']);
        if (run.code !== 0) {
            table.row([c.name, `refused (${run.code})`, ...Array(8).fill(''), 'no'], false);
            continue;
        }
        // Neural structures keep numbers of their own; bone and discs are matched.
        const t = loadVolume(at('t/labels.nii.gz')), s = loadVolume(at('s.nii.gz')), scored = whole(t);
        const bone = t.v.map((l) => (l >= 90 && l <= 107 ? l : 0)), to = matched(s.v.map((l) => (l <= 100 ? l : 0)), bone);
        const own = { 101: 110, 102: 112, 103: 111, 104: 113, 105: 114 };
        const mine = s.v.map((l) => own[l] ?? to[l]);
        saveVolume(at('a.nii'), { ...t, v: t.v.map((l) => (l >= 90 && l <= 114 ? l : 0)) });
        saveVolume(at('b.nii'), { ...s, v: mine });
        const found = compare(dir, at('a.nii'), at('b.nii'));
        const group = (list) => {
            mapLabels(at('a.nii'), at('ga.nii.gz'), (l) => (list.includes(l) ? 1 : 0));
            mapLabels(at('b.nii'), at('gb.nii.gz'), (l) => (list.includes(l) ? 1 : 0));
            return compare(dir, at('ga.nii.gz'), at('gb.nii.gz')).get(1)?.dice;
        };
        saveVolume(at('q.nii'), thresholdAndPieces(at, loadVolume(at('mr.nii')), bone));
        const plain = mean(compare(dir, at('a.nii'), at('q.nii')), vertebrae.filter(scored));
        const v = vertebrae.filter(scored), d = discs.filter(scored), canal = group([110, 111, 112]), neural = group([111, 112]);
        const levels = readJson(at('s.json')).levels;
        const ok = c.thick || c.arches ? atLeast(mean(found, v), 0.85) && levels === 'unconfirmed' && plain < 0.85 : atLeast(mean(found, v), 0.95) && atLeast(mean(found, d), 0.87) && atLeast(neural, 0.92) && atLeast(canal, 0.92) && atLeast(found.get(111)?.dice, 0.85) &&
            atLeast(found.get(113)?.dice, 0.7) && levels === 'unconfirmed' && plain < 0.95;
        console.log(c.name, fixed(mean(found, v)), fixed(mean(found, d)), fixed(canal), fixed(neural), fixed(plain));
        table.row([c.name, levels, `${fixed(mean(found, v))}, ${fixed(worst(found, v))}`, `${fixed(mean(found, d))}, ${fixed(worst(found, d))}`, fixed(canal), fixed(neural),
            fixed(found.get(111)?.dice), fixed(found.get(113)?.dice), fixed(found.get(114)?.dice), fixed(plain), ok ? 'yes' : 'no'], ok);
    }
    const crop = process.env.KERF_TEST_DATA && join(process.env.KERF_TEST_DATA, 'spine_mr');
    if (!crop) return;
    // Real, 1.5 mm, another scanner: three vertebrae of which two are cut, labels of another program and person.
    table.section('Real MR', ['image', 'structure', 'Dice', 'found of it', 'of what was found', 'holds']);
    const real = tool('kerf-job', ['segment.spine', '--modality', 'mr', '--image', join(crop, 'labelled_crop/sub-mri_label-6_T2w.nii.gz'), '--out', at('r.nii.gz'), '--quiet']);
    if (real.code !== 0) table.row(['labelled lumbar T2', 'refused, which it should not be', '', '', '', 'no'], false);
    else {
        const load = (kind) => loadVolume(join(crop, `labelled_crop/sub-mri_seg-${kind}_label-6_msk.nii.gz`)).v, part = load('subreg'), level = load('vert');
        const ours = loadVolume(at('r.nii.gz')).v, behind = behindCanal({ ...loadVolume(at('r.nii.gz')), v: part }), bone = (l) => (l > 0 && l <= 49) || l === 100, plate = 62;
        const to = matched(ours.map((l) => (l <= 49 ? l : 0)), level.map((l, v) => (part[v] >= 41 && part[v] <= 50 ? l : 0)));
        const row = (name, isTruth, isOurs, least = 0) => {
            let truth = 0, mine = 0, both = 0;
            part.forEach((l, v) => {
                const a = isTruth(l, v), b = isOurs(ours[v], v);
                truth += a, mine += b, both += a && b;
            });
            const dice = (2 * both) / (truth + mine), ok = atLeast(dice, least);
            table.row(['labelled lumbar T2', name, fixed(dice), fixed(both / truth), fixed(both / mine), least ? (ok ? 'yes' : 'no') : ''], !least || ok);
        };
        row('all bone', (l) => l >= 41 && l <= 50, bone, 0.85);
        for (const n of [5, 6, 7]) row(`vertebra ${n}${n === 6 ? '' : ', cut by the field'}`, (l, v) => level[v] === n && l >= 41 && l <= 50, (l) => to[l] === n);
        row('bone before the front of the canal', (l, v) => l >= 41 && l <= 50 && !behind[v], (l, v) => bone(l) && !behind[v]);
        row('bone behind it: arches and processes', (l, v) => l >= 41 && l <= 50 && behind[v], (l, v) => bone(l) && behind[v]);
        row('all discs', (l) => l === 100, (l) => l > 50 && l < 100);
        row('all discs, nothing scored in its end plates', (l) => l === 100, (l, v) => l > 50 && l < 100 && part[v] !== plate);
        row('canal', (l) => l === 60 || l === 61, (l) => l >= 101 && l <= 103);
        row('cord with cauda equina', (l) => l === 60, (l) => l === 103); // their cord goes on below the conus as its bundle
    }
    const seen = 'Slices of the labelled crop were looked at beside its labels: the marrow of its arches has three quarters of the bodies\' value, and is told by the atlas, in which this image has no part; where fat lies beside bodies and discs they reach about a voxel too far, on the side more on which fat is shifted away. Its labels of end plates count as neither bone nor disc, and the field cuts two of its three vertebrae.';
    for (const [name, file] of [['cervical T2', 'cervical_t2/t2.nii.gz'], ['cervical T1', 'cervical_t1/t1w.nii.gz']]) {
        const run = tool('kerf-job', ['segment.spine', '--modality', 'mr', '--image', join(crop, file), '--out', at('r.nii.gz'), '--quiet']);
        const code = run.stderr.match(/\[(\w+)\]/)?.[1], ok = run.code !== 0 && ['no_bodies', 'not_t2', 'no_spine', 'no_discs'].includes(code);
        table.row([name, ok ? `refused, as it should be: ${code}` : `${code ?? 'not refused'}, which it should be`, '', '', '', ok ? 'yes' : 'no'], ok);
    }
    table.text(seen);
});
process.exit(table.write(new URL('spine_mr.md', import.meta.url).pathname) ? 0 : 1);

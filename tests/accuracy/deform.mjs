// kerf-job `register` against known motions: what the search for the start captures, and how exact a deformation is. Phantoms of
// seeds that tuning did not see (from 301), and real images warped by a closed form. The moving image's noise is its own.
// Some minutes on two cores.
import { execFile } from 'node:child_process';
import { writeFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Table, atLeast, atMost, data, fixed, must, readJson, withScratch } from './lib.mjs';
import { crop, loadVolume, saveVolume } from './volumes.mjs';
import { asMr, families, mapOf, noisy, plainVolume, pointsWithin, randomFrom, rigid, rotation, warped } from './warps.mjs';

const bin = process.env.KERF_BIN ?? 'build/release/bin';
const run = promisify(execFile);
const job = (...args) => run(join(bin, 'kerf-job'), ['register', ...args, '--threads', '1', '--quiet']);
const lps = ([x, y, z]) => [-x, -y, z];
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
const applied = (m, p) => [0, 1, 2].map((r) => m[r][0] * p[0] + m[r][1] * p[1] + m[r][2] * p[2] + m[r][3]);

function figures(errors) {
    const e = [...errors].sort((a, b) => a - b);
    return { mean: e.reduce((s, x) => s + x, 0) / e.length, p95: e[Math.floor(0.95 * e.length)], most: e[e.length - 1] };
}
const three = (f) => [f.mean, f.p95, f.most].map((x) => fixed(x, 2)).join(' / ');

const points = (path) => readFileSync(path, 'utf8').trim().split('\n').map((l) => l.split(',').map(Number));

// Two at a time, one thread each; results in the order of the list.
async function inPairs(list, work) {
    const out = Array(list.length);
    let next = 0;
    const worker = async () => {
        while (next < list.length) {
            const n = next++;
            out[n] = await work(list[n], n);
        }
    };
    await Promise.all([worker(), worker()]);
    return out;
}

function phantom(dir, seed) {
    must('kerf', ['phantom', 'head', '--seed', `${seed}`, '--spacing', '1.5x1.5x2', '--noise', '0', '--out', join(dir, `p${seed}`)]);
    must('kerf-job', ['import', '--in', join(dir, `p${seed}`), '--out', join(dir, `p${seed}.nii`), '--quiet']);
    return plainVolume(join(dir, `p${seed}.nii`));
}

// ---- capture ----

const TRIALS = 100;

// A moving image whose frame is turned by up to 30° and moved by up to 40 mm, and which ends earlier than the fixed one: by up
// to a tenth on every side, or (part) by 30 to 40 % of one axis. The ends move the middle of the field and of the head.
function trial(moving, part, seed) {
    const random = randomFrom(seed), pick = (a, b) => a + (b - a) * random(), axis = [0, 1, 2].map(() => random() - 0.5);
    const turn = rotation(axis, (pick(0, 30) * Math.PI) / 180), way = [0, 1, 2].map(() => random() - 0.5), length = pick(0, 40) / Math.hypot(...way);
    const shift = way.map((x) => x * length), move = rigid(turn, shift);
    const from = moving.dim.map((n) => Math.floor(n * pick(0, 0.1))), to = moving.dim.map((n) => Math.ceil(n * pick(0.9, 1)));
    if (part) {
        const a = Math.floor(pick(0, 3)), cut = Math.round(moving.dim[a] * pick(0.3, 0.4));
        if (random() < 0.5) from[a] = cut;
        else to[a] = moving.dim[a] - cut;
    }
    const small = crop(moving, from, to);
    const columns = [0, 1, 2].map((c) => small.affine.map((row) => row[c])), origin = small.affine.map((row) => row[3]);
    const turned = columns.map((v) => rigid(turn, [0, 0, 0])(v)), moved = move(origin);
    return { vol: { ...small, affine: [0, 1, 2].map((r) => [turned[0][r], turned[1][r], turned[2][r], moved[r]]) }, move };
}

async function captureRow(table, dir, name, fixedPath, moving, back, points, part, seed) {
    const errors = await inPairs(Array.from({ length: TRIALS }, (_, n) => n), async (n) => {
        const t = trial(moving, part, seed + n), path = join(dir, `c${seed + n}.nii`), out = join(dir, `c${seed + n}.json`);
        saveVolume(path, t.vol);
        await job('--fixed', fixedPath, '--moving', path, '--out', out);
        rmSync(path);
        const m = readJson(out).matrix; // w lies where the trial's frame puts what the moving image shows of p
        return figures(points.map(({ w, p }) => distance(applied(m, lps(p)), lps(t.move(w))))).mean;
    });
    const share = (mm) => errors.filter((e) => e < mm).length / errors.length, held = errors.filter((e) => e < 2);
    const f = figures(errors), h = figures(held), ok = atLeast(share(2), back) && atMost(h.mean, 1);
    console.log(name, share(1), share(2), three(f));
    table.row([name, TRIALS, `${fixed(100 * share(1), 0)} %`, `${fixed(100 * share(2), 0)} %`, three(h), fixed(f.most, 1), `${100 * back} %`, ok ? 'yes' : 'no'], ok);
}

async function capture(table, dir) {
    table.section('Rigid: what is captured from up to 40 mm and 30°', ['pair', 'trials', 'below 1 mm', 'below 2 mm', 'those: mean / p95 / greatest (mm)', 'worst of all (mm)', 'bound below 2 mm', 'holds']);
    const head = phantom(dir, 301), own = rigid(rotation([1, -2, 0.5], 0.07), [2, -1.5, 3]);
    const still = noisy(head, 15, 1), path = join(dir, 'f301.nii'), shown = warped(head, own, 0);
    saveVolume(path, still);
    const points = pointsWithin(still, shown, own, -300, 400, 2);
    for (const [pair, moving] of [['CT←CT', noisy(shown, 15, 3)], ['CT←MR', noisy(asMr(shown, 0.25), 12, 4)]]) {
        await captureRow(table, dir, `head phantom, ${pair}`, path, moving, 0.99, points, false, 1000);
        await captureRow(table, dir, `head phantom, ${pair}, a third of the field missing`, path, moving, 0.9, points, true, 2000);
    }
}

// ---- deformation ----

async function deformation(dir, id, still, moving, map, least, more = []) {
    const at = (name) => join(dir, `${id}${name}`);
    saveVolume(at('f.nii'), still);
    saveVolume(at('m.nii'), moving);
    const truth = pointsWithin(still, moving, map, least, 2000, 7);
    writeFileSync(at('p.csv'), truth.map(({ p }) => lps(p).join(',')).join('\n'));
    await job('--fixed', at('f.nii'), '--moving', at('m.nii'), '--model', 'deformable', '--out', at('t.json'), '--points', at('p.csv'), '--points-out', at('q.csv'), ...more);
    const t = readJson(at('t.json')), found = points(at('q.csv'));
    if (found.length !== truth.length || truth.length < 1000) throw new Error(`${id}: ${found.length} of ${truth.length} points came back`);
    const alone = figures(truth.map(({ w, p }) => distance(applied(t.matrix, lps(p)), lps(w))));
    const warp = figures(truth.map(({ w }, n) => distance(found[n], lps(w))));
    return { alone, warp, d: t.deformation };
}

const heads = ['case', 'warp', 'rigid alone: TRE mean / p95 / greatest (mm)', 'deformable: TRE mean / p95 / greatest (mm)', 'Jacobian', 'forth and back: mean, greatest (mm)', 'holds'];
function deformRow(table, name, warp, r) {
    const ok = atMost(r.warp.mean, 1.5) && r.warp.mean < 0.99 * r.alone.mean && atLeast(r.d.jacobian_least, 1e-6) && atMost(r.d.inverse_mean_mm, 0.1);
    console.log(name, warp, three(r.alone), three(r.warp), fixed(r.d.jacobian_least, 2));
    table.row([name, warp, three(r.alone), three(r.warp), `${fixed(r.d.jacobian_least, 2)} to ${fixed(r.d.jacobian_most, 2)}`, `${fixed(r.d.inverse_mean_mm, 3)}, ${fixed(r.d.inverse_max_mm, 2)}`, ok ? 'yes' : 'no'], ok);
}

async function phantoms(table, dir) {
    table.section('Deformable: head phantom', heads);
    const head = phantom(dir, 302), still = noisy(head, 15, 11);
    const cases = Object.keys(families).map((warp, n) => {
        const map = mapOf(warp, head.half, 20 + n), shown = warped(head, map, 6);
        return [['CT←CT', noisy(shown, 15, 30 + n)], ['CT←MR', noisy(asMr(shown, 0.25), 12, 40 + n)]].map(([pair, moving]) => ({ warp, map, pair, moving }));
    }).flat();
    const results = await inPairs(cases, (c, n) => deformation(dir, `d${n}`, still, c.moving, c.map, -300));
    cases.forEach((c, n) => deformRow(table, c.pair, c.warp, results[n]));
}

async function realImages(table, dir) {
    if (!data) return table.text('Real images: not run, KERF_TEST_DATA is not set.');
    table.section('Deformable: real images, each against itself warped, with more noise', heads);
    must('kerf-job', ['import', '--in', join(data, 'head_ct', 'dicom'), '--out', join(dir, 'head.nii'), '--quiet']);
    const images = [ // name, file, tissue from, noise
        ['head CT, 0.94×0.94×1.5 mm', join(dir, 'head.nii'), -300, 15],
        ['another head\'s CT, 1.25×1.25×4 mm', join(data, 'head_ct_mr/ct_example.nii.gz'), -300, 15],
        ['its T1 MR, 1.25×1.25×4 mm', join(data, 'head_ct_mr/mri_t1_example.nii.gz'), 60, 8],
        ['thoracic spine CT, 0.78×0.78×1 mm', join(data, 'spine_ct/thoracic_1mm.nii.gz'), -300, 15],
        ['spine T2 MR, 1.5 mm', join(data, 'spine_mr/labelled_crop/sub-mri_label-6_T2w.nii.gz'), 30, 8],
    ];
    const names = Object.keys(families), cases = images.map((_, n) => n).flatMap((n) => names.map((warp) => ({ n, warp })));
    const results = await inPairs(cases, async ({ n, warp }, at) => {
        const [, path, least, noise] = images[n], still = plainVolume(path), map = mapOf(warp, still.half, 60 + at);
        const moving = noisy(warped(still, map, 5), noise, 80 + at), r = await deformation(dir, `r${at}`, still, moving, map, least);
        for (const end of ['f.nii', 'm.nii']) rmSync(join(dir, `r${at}${end}`));
        return r;
    });
    cases.forEach((c, at) => deformRow(table, images[c.n][0], c.warp, results[at]));
}

// A spine as CT and, bent and in another pose, as MR: landmarks with and without vertebrae that stay rigid. The phantom's
// own bend does not spare the vertebrae, by a few tenths of a millimetre.
async function rigidLabels(table, dir) {
    table.section('Deformable with rigid vertebrae: spine phantom, CT←MR', ['case', 'rigid alone: TRE mean / p95 / greatest (mm)', 'deformable', 'with rigid labels', 'parts', 'bent before, at most (mm)', 'left of it (mm)', 'Jacobian', 'holds']);
    const at = (name) => join(dir, `s.${name}`);
    for (const [kind, seed] of [['spine', 303], ['spine-mr', 303]]) {
        must('kerf', ['phantom', kind, '--seed', `${seed}`, '--spacing', '1.6x1.6x1.6', '--out', at(kind), '--truth', at(`${kind}.truth`)]);
        must('kerf-job', ['import', '--in', at(kind), '--out', at(`${kind}.nii`), '--quiet']);
    }
    const labels = loadVolume(join(at('spine.truth'), 'labels.nii.gz'));
    saveVolume(at('rigid.nii'), { ...labels, v: labels.v.map((l) => (l >= 90 && l <= 98 ? l : 0)) });
    const rows = readFileSync(join(at('spine-mr.truth'), 'pairs.csv'), 'utf8').trim().split('\n').slice(1).map((l) => l.split(',').slice(1, 7).map(Number));
    writeFileSync(at('p.csv'), rows.map((r) => r.slice(3).join(',')).join('\n'));
    const runs = await inPairs([[], ['--rigid-labels', at('rigid.nii')]], async (more, n) => {
        await job('--fixed', at('spine.nii'), '--moving', at('spine-mr.nii'), '--model', 'deformable', '--out', at(`${n}.json`), '--points', at('p.csv'), '--points-out', at(`${n}.csv`), ...more);
        const t = readJson(at(`${n}.json`)), q = points(at(`${n}.csv`));
        return { t, alone: figures(rows.map((r) => distance(applied(t.matrix, r.slice(3)), r))), warp: figures(rows.map((r, i) => distance(q[i], r))) };
    });
    const [free, kept] = runs, d = kept.t.deformation, most = (key) => Math.max(...d.rigid_parts.map((p) => p[key]));
    const ok = rows.length > 50 && atMost(kept.warp.mean, 1.5) && kept.warp.mean < kept.alone.mean && atLeast(d.jacobian_least, 1e-6) && d.rigid_parts.length === 9 && atMost(most('residual_mm'), 0.01);
    console.log('rigid labels', three(free.alone), three(free.warp), three(kept.warp), d.rigid_parts.length, most('bent_mm'), most('residual_mm'));
    table.row(['seed 303, 1.6 mm', three(kept.alone), three(free.warp), three(kept.warp), d.rigid_parts.length, fixed(most('bent_mm'), 2), fixed(most('residual_mm'), 4), `${fixed(d.jacobian_least, 2)} to ${fixed(d.jacobian_most, 2)}`, ok ? 'yes' : 'no'], ok);
}

const table = new Table('register', 'Made by `tests/accuracy/run deform`. TRE: distance between where a point is carried and where the known motion puts it, over points of the patient. Gates: captured as the column says; deformable mean TRE at most 1.5 mm and a hundredth or more below rigid alone, no folds, forth and back within 0.1 mm on average.');
await withScratch(async (dir) => {
    const only = process.env.KERF_DEFORM_PARTS?.split(','), parts = { capture, phantoms, realImages, rigidLabels };
    for (const [name, part] of Object.entries(parts)) if (!only || only.includes(name)) await part(table, dir);
});
process.exit(table.write(new URL('deform.md', import.meta.url).pathname) ? 0 : 1);

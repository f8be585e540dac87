// Where bone lies behind the bodies, measured on CTs with labels and written as workers/jobs/segment/spine_mr_atlas.c: the
// share of the places of a vertebra's period that are bone, by mm from the canal's middle to the side and forwards and by
// the share of the way from one disc to the next. Canal and discs are those of segment.spine, whose own bone is not looked
// at. No MR goes into it. Usage: KERF_TEST_DATA=… node tests/accuracy/arch_atlas.mjs
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { data, must, withScratch } from './lib.mjs';
import { loadVolume } from './volumes.mjs';

// The table's own geometry, as in spine_mr_arch.c: the left half, for both sides together.
const wide = 18, deep = 32, tall = 8, cell = 2.5, back = -66, usualPitch = 34, step = 1.25;
const sources = [
    { image: 'spine_ct/labelled_crop/sub-ct_label-22_ct.nii.gz', truth: 'spine_ct/labelled_crop/sub-ct_seg-subreg_label-22_msk.nii.gz', isBone: (l) => l >= 41 && l <= 50 },
    { image: 'abdomen_ct/example_ct.nii.gz', truth: 'abdomen_ct/example_seg_fast_force_split.nii.gz', isBone: (l) => l >= 26 && l <= 33 },
];
const add = (a, b, f = 1) => a.map((x, n) => x + f * b[n]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [0, 1, 2].map((c) => a[(c + 1) % 3] * b[(c + 2) % 3] - a[(c + 2) % 3] * b[(c + 1) % 3]);
const unit = (a) => a.map((x) => x / Math.hypot(...a));
const across = (a, along) => unit(add(a, along, -dot(a, along)));

// NIfTI's own frame, right, front and up, in which left is −x.
function placeOf(vol, v) {
    const ijk = [v % vol.dim[0], Math.floor(v / vol.dim[0]) % vol.dim[1], Math.floor(v / (vol.dim[0] * vol.dim[1]))];
    return vol.affine.map((row) => row[0] * ijk[0] + row[1] * ijk[1] + row[2] * ijk[2] + row[3]);
}

function sampler(vol) {
    const column = (c) => vol.affine.map((row) => row[c]), axes = [0, 1, 2].map(column), origin = column(3);
    return (p) => {
        const ijk = axes.map((a) => Math.round(dot(add(p, origin, -1), a) / dot(a, a)));
        return ijk.some((x, n) => x < 0 || x >= vol.dim[n]) ? -1 : vol.v[ijk[0] + vol.dim[0] * (ijk[1] + vol.dim[1] * ijk[2])];
    };
}

// Middles of the canal's sections every millimetre from above, smoothed over 12 mm, and of the discs.
function pathAndDiscs(seg) {
    const sections = new Map(), discs = new Map();
    seg.v.forEach((l, v) => {
        const isDisc = l > 50 && l < 100;
        if (!isDisc && !(l >= 101 && l <= 103)) return;
        const p = placeOf(seg, v), [into, key] = isDisc ? [discs, l] : [sections, Math.round(p[2] / 3)], sum = into.get(key) ?? [0, 0, 0, 0];
        into.set(key, add(sum, [...p, 1]));
    });
    const middle = (sum) => sum.slice(0, 3).map((x) => x / sum[3]);
    const rough = [...sections].sort((a, b) => b[0] - a[0]).map(([, sum]) => middle(sum));
    const smooth = rough.map((_, n) => {
        const reach = Math.min(4, n, rough.length - 1 - n), near = rough.slice(n - reach, n + reach + 1);
        return near.reduce((sum, p) => add(sum, p, 1 / near.length), [0, 0, 0]);
    });
    const path = [];
    for (let z = smooth[0][2], n = 0; z > smooth.at(-1)[2]; z -= 1) {
        while (smooth[n + 1][2] > z) n++;
        path.push(add(smooth[n], add(smooth[n + 1], smooth[n], -1), (smooth[n][2] - z) / (smooth[n][2] - smooth[n + 1][2])));
    }
    return { path, discs: [...discs].sort((a, b) => a[0] - b[0]).map(([, sum]) => middle(sum)) };
}

// Sums over the periods whose two discs are seen, and half a period beyond the outermost where no sacrum lies.
function measure(seg, truth, isBone) {
    const { path, discs } = pathAndDiscs(seg), label = sampler(truth), bone = new Float64Array(wide * deep * tall), all = bone.slice();
    const sacrum = seg.v.includes(100), down = path.map((_, n) => unit(add(path[Math.min(n + 8, path.length - 1)], path[Math.max(n - 8, 0)], -1)));
    const at = discs.map((d) => path.map((p, n) => Math.abs(dot(add(d, p, -1), down[n]))).reduce((best, x, n, list) => (x < list[best] ? n : best), 0));
    path.forEach((p, n) => {
        const i = Math.min(Math.max(at.findIndex((s) => s > n) < 0 ? at.length : at.findIndex((s) => s > n), 1), at.length - 1);
        const pitch = at[i] - at[i - 1], share = (n - at[i - 1]) / pitch;
        if (share < -0.5 || share > 1.5 || (sacrum && n > at.at(-1))) return;
        const axis = add(discs[i - 1], add(discs[i], discs[i - 1], -1), Math.min(1, Math.max(0, share)));
        const front = across(add(axis, p, -1), down[n]), left = cross(front, down[n]), t = Math.floor(tall * (share - Math.floor(share)));
        for (let v = back; v < back + deep * cell; v += step)
            for (let u = -wide * cell + step / 2; u < wide * cell; u += step) {
                const l = label(add(add(p, front, v * pitch / usualPitch), left, u * pitch / usualPitch));
                if (l < 0) continue;
                const to = (t * deep + Math.floor((v - back) / cell)) * wide + Math.floor(Math.abs(u) / cell);
                bone[to] += isBone(l) ? 1 : 0;
                all[to]++;
            }
    });
    return bone.map((x, n) => (all[n] ? x / all[n] : 0));
}

// Weights 1, 2, 1 along each axis; periods follow each other, and both sides are one.
function smoothed(share) {
    const at = (from, t, v, u) => from[(((t + tall) % tall) * deep + Math.min(deep - 1, Math.max(0, v))) * wide + Math.min(wide - 1, Math.max(0, u))];
    for (let axis = 0; axis < 3; axis++) {
        const from = share, d = [0, 1, 2].map((a) => (a === axis ? 1 : 0));
        share = from.map((x, n) => {
            const u = n % wide, v = Math.floor(n / wide) % deep, t = Math.floor(n / (wide * deep));
            return 0.5 * x + 0.25 * (at(from, t - d[0], v - d[1], u - d[2]) + at(from, t + d[0], v + d[1], u + d[2]));
        });
    }
    return share;
}

await withScratch(async (dir) => {
    let share = new Float64Array(wide * deep * tall);
    for (const source of sources) {
        must('kerf-job', ['segment.spine', '--modality', 'ct', '--image', join(data, source.image), '--out', join(dir, 's.nii.gz'), '--quiet']);
        const one = measure(loadVolume(join(dir, 's.nii.gz')), loadVolume(join(data, source.truth)), source.isBone);
        share = share.map((x, n) => x + one[n] / sources.length);
    }
    share = smoothed(share);
    const letter = (x) => '.abcdefghijklmnopqrstuvwxyz'[Math.round(26 * x)], blocks = [];
    for (let t = 0; t < tall; t++) {
        const rows = [];
        for (let v = deep - 1; v >= 0; v--) rows.push(`     "${Array.from({ length: wide }, (_, u) => letter(share[(t * deep + v) * wide + u])).join('')}",`);
        blocks.push(`    {\n${rows.join('\n')}\n    },`);
    }
    writeFileSync(new URL('../../workers/jobs/segment/spine_mr_atlas.c', import.meta.url).pathname, `// Made by tests/accuracy/arch_atlas.mjs from labelled CTs (its head says how); not to be edited by hand. A letter is a
// share of bone, none to all in steps of 1/26. A row goes from the midline to one side, rows from before the canal's
// middle backwards, blocks from a disc down to the next.
#include "workers/jobs/segment/spine_mr_arch.h"

// clang-format off
const char kf_spine_mr_atlas[KF_ARCH_TALL][KF_ARCH_DEEP][KF_ARCH_WIDE + 1] = {
${blocks.join('\n')}
};
`);
});

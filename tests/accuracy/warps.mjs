// Known motions for the registration table: volumes in a plain frame (voxel axes are the axes, the middle is 0, RAS mm as
// NIfTI has it), maps A with a closed form, and images warped by them. The moving image shows at w what the fixed one has at
// A(w): the truth of p = A(w) is w.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { loadVolume, rescaled } from './volumes.mjs';

// SplitMix-like numbers in [0, 1) that depend on the seed alone.
export function randomFrom(seed) {
    let s = seed >>> 0;
    return () => {
        s = (s + 0x9e3779b9) >>> 0;
        let x = Math.imul(s ^ (s >>> 16), 0x21f0aaad);
        x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
        return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
    };
}

// The voxels of a NIfTI file of ours or of somebody else, without the file's frame: only the spacing is kept.
export function plainVolume(path) {
    const raw = readFileSync(path), bytes = raw[0] === 0x1f ? gunzipSync(raw) : raw;
    if (bytes.readInt32LE(0) === 540) {
        const v = loadVolume(path);
        return plain(v.dim, [0, 1, 2].map((c) => Math.hypot(...v.affine.map((row) => row[c]))), v.v);
    }
    const dim = [1, 2, 3].map((a) => bytes.readInt16LE(40 + 2 * a)), type = bytes.readInt16LE(70);
    const spacing = [1, 2, 3].map((a) => Math.abs(bytes.readFloatLE(76 + 4 * a)));
    const from = bytes.byteOffset + bytes.readFloatLE(108), count = dim[0] * dim[1] * dim[2];
    const Kind = { 4: Int16Array, 512: Uint16Array }[type];
    if (!Kind) throw new Error(`${path}: 16-bit numbers are wanted`);
    const stored = new Kind(bytes.buffer.slice(from, from + 2 * count));
    return plain(dim, spacing, Int16Array.from(rescaled(path, stored, bytes.readFloatLE(112), bytes.readFloatLE(116))));
}

export function plain(dim, spacing, v) {
    const affine = [0, 1, 2].map((r) => [0, 1, 2, 3].map((c) => (c === r ? spacing[r] : c === 3 ? -0.5 * spacing[r] * (dim[r] - 1) : 0)));
    return { dim, type: 4, affine, spacing, half: dim.map((n, a) => 0.5 * spacing[a] * (n - 1)), v };
}

// ---- maps ----

export function rotation(axis, angle) {
    const n = Math.hypot(...axis), [x, y, z] = axis.map((a) => a / n), c = Math.cos(angle), s = Math.sin(angle), t = 1 - c;
    return [
        [t * x * x + c, t * x * y - s * z, t * x * z + s * y],
        [t * x * y + s * z, t * y * y + c, t * y * z - s * x],
        [t * x * z - s * y, t * y * z + s * x, t * z * z + c],
    ];
}
export const rigid = (turn, shift) => (p) => turn.map((row, r) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + shift[r]);

// Random bumps: a uniform cubic B-spline with control points 40 mm apart, each moved by up to `most` mm.
function bumps(half, most, seed) {
    const step = 40, random = randomFrom(seed), n = half.map((h) => Math.ceil((2 * h) / step) + 6);
    const control = Float64Array.from({ length: 3 * n[0] * n[1] * n[2] }, () => most * (2 * random() - 1));
    return (p) => {
        const out = [...p], weight = [], first = [];
        for (let a = 0; a < 3; a++) {
            const t = Math.min(Math.max((p[a] + half[a]) / step + 1, 0), n[a] - 4), i = Math.floor(Math.min(t, n[a] - 4)), u = t - i, v = 1 - u;
            first.push(i);
            weight.push([v ** 3 / 6, (3 * u ** 3 - 6 * u * u + 4) / 6, (3 * v ** 3 - 6 * v * v + 4) / 6, u ** 3 / 6]);
        }
        for (let k = 0; k < 4; k++)
            for (let j = 0; j < 4; j++)
                for (let i = 0; i < 4; i++) {
                    const w = weight[0][i] * weight[1][j] * weight[2][k];
                    const at = 3 * (first[0] + i + n[0] * (first[1] + j + n[1] * (first[2] + k)));
                    for (let a = 0; a < 3; a++) out[a] += w * control[at + a];
                }
        return out;
    };
}

// A swirl about the long axis that fades away from a line beside the middle: no volume changes.
function swirl(half, angle) {
    const centre = [0.2 * half[0], -0.1 * half[1], 0], sigma = 0.4 * Math.min(half[0], half[1]);
    return ([x, y, z]) => {
        const dx = x - centre[0], dy = y - centre[1], a = angle * Math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)) * Math.cos((0.5 * Math.PI * z) / (1.3 * half[2]));
        const c = Math.cos(a), s = Math.sin(a);
        return [centre[0] + c * dx - s * dy, centre[1] + s * dx + c * dy, z];
    };
}

// Bending as of a neck: above a hinge nothing moves, below it all turns about the left-right axis through the hinge, with a
// smooth step between.
function bend(half, angle) {
    const width = 0.6 * half[2], top = 0.35 * half[2], hinge = [0, -0.2 * half[1], 0.05 * half[2]];
    return ([x, y, z]) => {
        const t = Math.min(Math.max((top - z) / (2 * width), 0), 1), a = angle * t * t * (3 - 2 * t);
        const c = Math.cos(a), s = Math.sin(a), dy = y - hinge[1], dz = z - hinge[2];
        return [x, hinge[1] + c * dy - s * dz, hinge[2] + s * dy + c * dz];
    };
}

export const families = {
    'B-spline bumps': (half, seed) => bumps(half, Math.min(9, 0.12 * Math.min(...half) + 2), seed),
    swirl: (half) => swirl(half, 0.21),
    bend: (half) => bend(half, 0.1 * Math.min(1, (1.3 * half[2]) / half[1])),
};

// A warp after a small turn and shift.
export function mapOf(family, half, seed) {
    const random = randomFrom(seed), axis = [0, 1, 2].map(() => random() - 0.5);
    const first = rigid(rotation(axis, 0.08), [0, 1, 2].map(() => 10 * (random() - 0.5)));
    const second = families[family](half, seed);
    return (w) => second(first(w));
}

// ---- images ----

// Cubic convolution of `from` at the voxel coordinates (i, j, k), which are held within the image.
function cubicAt(from, p) {
    const [nx, ny, nz] = from.dim, w = [], at = [];
    for (let a = 0; a < 3; a++) {
        const x = Math.min(Math.max(p[a], 0), from.dim[a] - 1), i = Math.min(Math.floor(x), from.dim[a] - 2), u = x - i, v = 1 - u;
        w.push([-0.5 * u * v * v, 1 + u * u * (1.5 * u - 2.5), 1 + v * v * (1.5 * v - 2.5), -0.5 * v * u * u]);
        at.push([Math.max(i - 1, 0), i, i + 1, Math.min(i + 2, from.dim[a] - 1)]);
    }
    let sum = 0;
    for (let k = 0; k < 4; k++)
        for (let j = 0; j < 4; j++) {
            const row = nx * (at[1][j] + ny * at[2][k]), wy = w[1][j] * w[2][k];
            sum += wy * (w[0][0] * from.v[row + at[0][0]] + w[0][1] * from.v[row + at[0][1]] + w[0][2] * from.v[row + at[0][2]] + w[0][3] * from.v[row + at[0][3]]);
        }
    return nz ? sum : 0;
}

// What `from` shows through the map, on its own grid less `margin` mm on every side. The image knows nothing beyond its
// border, where the last voxel is repeated.
export function warped(from, map, margin) {
    const cut = from.dim.map((n, a) => Math.min(Math.round(margin / from.spacing[a]), Math.floor(n / 8)));
    const out = plain(from.dim.map((n, a) => n - 2 * cut[a]), from.spacing, null), [nx, ny, nz] = out.dim;
    out.v = new Int16Array(nx * ny * nz);
    for (let k = 0, n = 0; k < nz; k++)
        for (let j = 0; j < ny; j++)
            for (let i = 0; i < nx; i++, n++) {
                const q = map([i, j, k].map((x, a) => x * out.spacing[a] - out.half[a]));
                out.v[n] = Math.round(cubicAt(from, q.map((x, a) => (x + from.half[a]) / from.spacing[a])));
            }
    return out;
}

// Noise of the deviation sd, about normal.
export function noisy(vol, sd, seed) {
    const random = randomFrom(seed), v = new Int16Array(vol.v.length);
    for (let n = 0; n < v.length; n++) v[n] = Math.round(vol.v[n] + sd * 2 * (random() + random() + random() - 1.5));
    return { ...vol, v };
}

// Values as another modality might show them: fat bright, bone and air dark, and a coil's slow shading of `shade`.
export function asMr(ct, shade) {
    const table = [[-1200, 6], [-250, 30], [-110, 700], [-40, 520], [5, 260], [40, 600], [90, 380], [200, 230], [600, 90], [1400, 25], [4000, 6]];
    const lut = Int16Array.from({ length: 5300 }, (_, n) => {
        const x = n - 1200, i = Math.max(table.findIndex((t) => t[0] > x), 1), [a, b] = [table[i - 1], table[i]];
        return a[1] + ((b[1] - a[1]) * Math.max(x - a[0], 0)) / (b[0] - a[0]);
    });
    const [nx, ny, nz] = ct.dim, v = new Int16Array(ct.v.length);
    for (let k = 0, n = 0; k < nz; k++)
        for (let j = 0; j < ny; j++) {
            const row = 1 + shade * Math.sin((2.6 * j) / ny) * Math.cos((2.9 * k) / nz);
            for (let i = 0; i < nx; i++, n++) v[n] = Math.round(lut[Math.min(Math.max(ct.v[n] + 1200, 0), 5299)] * (row - (shade * i) / nx));
        }
    return { ...ct, v };
}

// `count` points w of the moving image with A(w) on tissue (above `least`) and 5 mm or more within the fixed image.
export function pointsWithin(fixed, moving, map, least, count, seed) {
    const random = randomFrom(seed), found = [];
    for (let tries = 0; tries < 400 * count && found.length < count; tries++) {
        const w = moving.half.map((h) => h * (2 * random() - 1)), p = map(w);
        if (p.some((x, a) => Math.abs(x) > fixed.half[a] - 5)) continue;
        const [i, j, k] = p.map((x, a) => Math.round((x + fixed.half[a]) / fixed.spacing[a]));
        if (fixed.v[i + fixed.dim[0] * (j + fixed.dim[1] * k)] >= least) found.push({ w, p });
    }
    return found;
}

// Volumes (NIfTI: int16 or uint8, sform) for the accuracy tables: crops, other orders of the axes, two
// patients in one field, metal.
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';

// Stored numbers as a NIfTI header's slope and intercept mean them (a slope of 0 says nothing); whole 16-bit numbers come
// out, and what is none is refused rather than rounded.
export function rescaled(path, stored, slope, inter) {
    if (slope === 0 || !Number.isFinite(slope)) [slope, inter] = [1, 0];
    if (slope === 1 && inter === 0 && !(stored instanceof Uint16Array)) return stored;
    return Int16Array.from(stored, (x) => {
        const value = x * slope + inter;
        if (value !== (value << 16) >> 16) throw new Error(`${path}: ${value} is no whole 16-bit number`);
        return value;
    });
}

export function loadVolume(path) {
    const raw = readFileSync(path);
    const bytes = raw[0] === 0x1f ? gunzipSync(raw) : raw;
    const two = bytes.readInt32LE(0) === 540;
    const dim = two ? [24, 32, 40].map((o) => Number(bytes.readBigInt64LE(o))) : [42, 44, 46].map((o) => bytes.readInt16LE(o));
    const offset = two ? Number(bytes.readBigInt64LE(168)) : bytes.readFloatLE(108);
    const type = bytes.readInt16LE(two ? 12 : 70), count = dim[0] * dim[1] * dim[2];
    // Ours say the sform in doubles in their extension.
    const row = (r, c) => (two ? bytes.readDoubleLE(400 + 32 * r + 8 * c) : bytes.toString('latin1', 360, 374) === 'kerf sform f64'
        ? bytes.readDoubleLE(376 + 32 * r + 8 * c) : bytes.readFloatLE(280 + 16 * r + 4 * c));
    const affine = [0, 1, 2].map((r) => [0, 1, 2, 3].map((c) => row(r, c)));
    const body = bytes.buffer.slice(bytes.byteOffset + offset, bytes.byteOffset + offset + count * (type === 4 ? 2 : 1));
    if (type !== 4 && type !== 2) throw new Error('int16 or uint8 is wanted');
    const scale = [0, 1].map((n) => (two ? bytes.readDoubleLE(176 + 8 * n) : bytes.readFloatLE(112 + 4 * n)));
    const v = rescaled(path, type === 4 ? new Int16Array(body) : new Uint8Array(body), ...scale);
    return { dim, type: v instanceof Uint8Array ? 2 : 4, affine, v };
}

export function saveVolume(path, vol) {
    const head = Buffer.alloc(544);
    head.writeInt32LE(540, 0);
    head.write('n+2\0\r\n\x1a\n', 4, 'latin1');
    head.writeInt16LE(vol.type, 12);
    head.writeInt16LE(vol.type === 4 ? 16 : 8, 14);
    [3, ...vol.dim, 1, 1, 1, 1].forEach((d, n) => head.writeBigInt64LE(BigInt(d), 16 + 8 * n));
    const spacing = [0, 1, 2].map((c) => Math.hypot(...vol.affine.map((row) => row[c])));
    [1, ...spacing, 0, 0, 0, 0].forEach((s, n) => head.writeDoubleLE(s, 104 + 8 * n));
    head.writeBigInt64LE(544n, 168);
    head.writeDoubleLE(1, 176);
    head.writeInt32LE(2, 348); // sform: aligned
    vol.affine.forEach((row, r) => row.forEach((x, c) => head.writeDoubleLE(x, 400 + 32 * r + 8 * c)));
    head.writeInt32LE(2 | (1 << 3), 500); // millimetres, seconds
    const file = Buffer.concat([head, Buffer.from(vol.v.buffer, vol.v.byteOffset, vol.v.byteLength)]);
    writeFileSync(path, path.endsWith('.gz') ? gzipSync(file, { level: 1 }) : file);
}

// Voxels [from, to) on each axis.
export function crop(vol, from, to) {
    const dim = [0, 1, 2].map((a) => to[a] - from[a]), out = new vol.v.constructor(dim[0] * dim[1] * dim[2]);
    for (let k = 0, n = 0; k < dim[2]; k++)
        for (let j = 0; j < dim[1]; j++, n += dim[0]) {
            const at = from[0] + vol.dim[0] * (from[1] + j + vol.dim[1] * (from[2] + k));
            out.set(vol.v.subarray(at, at + dim[0]), n);
        }
    const affine = vol.affine.map((row) => [row[0], row[1], row[2], row[3] + row[0] * from[0] + row[1] * from[1] + row[2] * from[2]]);
    return { ...vol, dim, affine, v: out };
}

// The same patient with the axes in another order: new axis a is the old axis order[a], backwards where flip[a].
export function reorder(vol, order, flip) {
    const dim = order.map((o) => vol.dim[o]), step = [1, vol.dim[0], vol.dim[0] * vol.dim[1]];
    const out = new vol.v.constructor(vol.v.length), first = order.map((o, a) => (flip[a] ? vol.dim[o] - 1 : 0));
    const stride = order.map((o, a) => (flip[a] ? -step[o] : step[o]));
    const start = order.reduce((sum, o, a) => sum + first[a] * step[o], 0);
    for (let k = 0, n = 0; k < dim[2]; k++)
        for (let j = 0; j < dim[1]; j++)
            for (let i = 0, m = start + j * stride[1] + k * stride[2]; i < dim[0]; i++, n++, m += stride[0]) out[n] = vol.v[m];
    const affine = vol.affine.map((row) => [...order.map((o, a) => (flip[a] ? -row[o] : row[o])),
        row[3] + order.reduce((sum, o, a) => sum + row[o] * first[a], 0)]);
    return { ...vol, dim, affine, v: out };
}

// Two volumes of one grid's size side by side along i. What is beside a leg is air or another leg.
export function sideBySide(a, b) {
    const [nx, ny, nz] = a.dim, out = new a.v.constructor(2 * a.v.length);
    for (let row = 0; row < ny * nz; row++) {
        out.set(a.v.subarray(row * nx, (row + 1) * nx), 2 * row * nx);
        out.set(b.v.subarray(row * nx, (row + 1) * nx), (2 * row + 1) * nx);
    }
    return { ...a, dim: [2 * nx, ny, nz], v: out };
}

// A plate with screws in and on whatever `inside` (a label map) has label `label` at slices [from, to): metal of 3071 HU,
// with dark and bright streaks in its slices that fall off with distance.
export function addMetal(image, inside, label, from, to) {
    const [nx, ny] = image.dim;
    for (let k = from; k < to; k++) {
        let n = 0, x = 0, y = 0;
        for (let j = 0; j < ny; j++)
            for (let i = 0; i < nx; i++)
                if (inside.v[i + nx * (j + ny * k)] === label) n++, (x += i), (y += j);
        if (!n) continue;
        x = Math.round(x / n), y = Math.round(y / n);
        const screw = (k - from) % 16 < 5, dx = image.affine[0][0] ** 2, dy = image.affine[1][1] ** 2;
        for (let j = 0; j < ny; j++)
            for (let i = 0; i < nx; i++) {
                const at = i + nx * (j + ny * k), r = Math.sqrt((i - x) ** 2 * dx + (j - y) ** 2 * dy);
                const bar = Math.abs(j - y) * Math.sqrt(dy) < 1.8 && Math.abs(i - x) * Math.sqrt(dx) < 11;
                if (screw && bar) image.v[at] = 3071;
                else if (screw && r < 60) {
                    const streak = 260 * Math.cos(9 * Math.atan2(j - y, i - x)) * Math.exp(-r / 18);
                    image.v[at] = Math.max(-1024, Math.min(3071, Math.round(image.v[at] + streak)));
                }
            }
    }
}

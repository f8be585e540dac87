// Label maps (NIfTI-1 or -2, uint8) for the accuracy tables: other numbers, largest pieces.
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';

function load(path) {
    const raw = readFileSync(path);
    const bytes = raw[0] === 0x1f ? gunzipSync(raw) : raw;
    const two = bytes.readInt32LE(0) === 540;
    const dim = two ? [24, 32, 40].map((o) => Number(bytes.readBigInt64LE(o))) : [42, 44, 46].map((o) => bytes.readInt16LE(o));
    const offset = two ? Number(bytes.readBigInt64LE(168)) : bytes.readFloatLE(108);
    if (bytes.readInt16LE(two ? 12 : 70) !== 2) throw new Error('a label map must be uint8');
    return { bytes, dim, voxels: bytes.subarray(offset, offset + dim[0] * dim[1] * dim[2]) };
}

// Writes the map with every label l as change(l).
export function mapLabels(from, to, change) {
    const map = load(from);
    const table = Uint8Array.from({ length: 256 }, (_, l) => change(l));
    for (let n = 0; n < map.voxels.length; n++) map.voxels[n] = table[map.voxels[n]];
    writeFileSync(to, gzipSync(map.bytes, { level: 1 }));
}

// Writes the `count` largest pieces (face neighbours) of all that is not 0 as 1, 2 and so on by size.
export function largestPieces(from, to, count) {
    const map = load(from), v = map.voxels, [nx, ny, nz] = map.dim;
    const piece = new Int32Array(v.length), sizes = [0], stack = new Int32Array(v.length);
    for (let start = 0; start < v.length; start++) {
        if (!v[start] || piece[start]) continue;
        const id = sizes.length;
        let top = 0, size = 0;
        stack[top++] = start;
        piece[start] = id;
        while (top) {
            const n = stack[--top], x = n % nx, y = ((n / nx) | 0) % ny, z = (n / (nx * ny)) | 0;
            size++;
            const visit = (m) => {
                if (v[m] && !piece[m]) {
                    piece[m] = id;
                    stack[top++] = m;
                }
            };
            if (x > 0) visit(n - 1);
            if (x < nx - 1) visit(n + 1);
            if (y > 0) visit(n - nx);
            if (y < ny - 1) visit(n + nx);
            if (z > 0) visit(n - nx * ny);
            if (z < nz - 1) visit(n + nx * ny);
        }
        sizes.push(size);
    }
    const order = [...sizes.keys()].slice(1).sort((a, b) => sizes[b] - sizes[a]);
    const rank = new Uint8Array(sizes.length);
    order.slice(0, count).forEach((id, n) => { rank[id] = n + 1; });
    for (let n = 0; n < v.length; n++) v[n] = rank[piece[n]];
    writeFileSync(to, gzipSync(map.bytes, { level: 1 }));
}

// Writes the map with every piece (face neighbours) of label `inner` as the label that most of its neighbours have, of
// those in `outer`: the marrow goes to its bone.
export function joinInner(from, to, inner, outer) {
    const map = load(from), v = map.voxels, [nx, ny] = map.dim, plane = nx * ny;
    const seen = new Uint8Array(v.length), wanted = new Set(outer);
    for (let start = 0; start < v.length; start++) {
        if (v[start] !== inner || seen[start]) continue;
        const piece = [start], votes = new Map();
        seen[start] = 1;
        for (let at = 0; at < piece.length; at++) {
            for (const step of [-1, 1, -nx, nx, -plane, plane]) {
                const m = piece[at] + step;
                if (m < 0 || m >= v.length) continue;
                if (v[m] === inner && !seen[m]) {
                    seen[m] = 1;
                    piece.push(m);
                } else if (wanted.has(v[m])) votes.set(v[m], (votes.get(v[m]) ?? 0) + 1);
            }
        }
        const winner = [...votes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0;
        for (const n of piece) v[n] = winner;
    }
    writeFileSync(to, gzipSync(map.bytes, { level: 1 }));
}

// Writes the part of a volume (uint8 or int16) from voxel low to voxel high, without high, where it lies in the patient.
export function crop(from, to, low, high) {
    const raw = readFileSync(from);
    const bytes = raw[0] === 0x1f ? gunzipSync(raw) : raw;
    const two = bytes.readInt32LE(0) === 540;
    const dim = two ? [24, 32, 40].map((o) => Number(bytes.readBigInt64LE(o))) : [42, 44, 46].map((o) => bytes.readInt16LE(o));
    const offset = two ? Number(bytes.readBigInt64LE(168)) : bytes.readFloatLE(108);
    const size = bytes.readInt16LE(two ? 14 : 72) / 8, rows = [];
    const wide = high.map((h, a) => h - low[a]);
    for (let k = low[2]; k < high[2]; k++)
        for (let j = low[1]; j < high[1]; j++) {
            const at = offset + size * (low[0] + dim[0] * (j + dim[1] * k));
            rows.push(bytes.subarray(at, at + size * wide[0]));
        }
    const head = Buffer.from(bytes.subarray(0, offset));
    const get = (o) => (two ? head.readDoubleLE(o) : head.readFloatLE(o));
    const put = (o, v) => (two ? head.writeDoubleLE(v, o) : head.writeFloatLE(v, o));
    for (let a = 0; a < 3; a++) {
        if (two) head.writeBigInt64LE(BigInt(wide[a]), 24 + 8 * a);
        else head.writeInt16LE(wide[a], 42 + 2 * a);
        const row = two ? 400 + 32 * a : 280 + 16 * a, step = two ? 8 : 4;
        const moved = get(row + 3 * step) + low.reduce((s, l, c) => s + l * get(row + c * step), 0);
        put(row + 3 * step, moved);
        put((two ? 376 : 268) + (two ? 8 : 4) * a, moved);
    }
    writeFileSync(to, gzipSync(Buffer.concat([head, ...rows]), { level: 1 }));
}

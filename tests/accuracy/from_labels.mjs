// A plausible CT from a label map: HU by tissue, a dense shell around spongy bone, partial volume, blur, noise from a
// seed. What a label map does not say (skin, fat, texture, vessels with contrast) is not in it.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

// NRRD as 3D Slicer writes label maps: int16 or uint8, gzip, left-posterior-superior.
export function loadNrrd(path) {
    const raw = readFileSync(path), end = raw.indexOf('\n\n'), head = raw.subarray(0, end).toString('latin1');
    const field = (name) => new RegExp(`^${name}: (.*)$`, 'm').exec(head)?.[1].trim();
    if (field('encoding') !== 'gzip' || field('space') !== 'left-posterior-superior') throw new Error(`${path}: not as expected`);
    const dim = field('sizes').split(' ').map(Number), bytes = gunzipSync(raw.subarray(end + 2));
    const axes = [...field('space directions').matchAll(/\(([^)]*)\)/g)].map((m) => m[1].split(',').map(Number));
    const origin = /\(([^)]*)\)/.exec(field('space origin'))[1].split(',').map(Number);
    const v = field('type') === 'short' ? new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2) : new Uint8Array(bytes);
    const affine = [0, 1, 2].map((r) => [...axes.map((a) => a[r]), origin[r]].map((x) => (r < 2 ? -x : x))); // LPS to RAS
    return { dim, affine, v: v.slice(), spacing: axes.map((a) => Math.hypot(...a)) };
}

// Along one axis: out[n] = Σ weight[t]·in[n + t], the border repeated.
function along(data, dim, axis, weight) {
    const step = [1, dim[0], dim[0] * dim[1]][axis], reach = (weight.length - 1) / 2, out = new Float32Array(data.length);
    for (let n = 0; n < data.length; n++) {
        const at = Math.floor(n / step) % dim[axis];
        let sum = 0;
        for (let t = -reach; t <= reach; t++) sum += weight[t + reach] * data[n + step * (Math.min(dim[axis] - 1, Math.max(0, at + t)) - at)];
        out[n] = sum;
    }
    return out;
}

function gaussian(sigma) {
    const reach = Math.max(1, Math.ceil(2.5 * sigma)), w = [];
    for (let t = -reach; t <= reach; t++) w.push(Math.exp((-t * t) / (2 * sigma * sigma)));
    const sum = w.reduce((a, b) => a + b);
    return w.map((x) => x / sum);
}

// 1 where all within `mm` along each axis (a box) is of the same bone.
function deep(labels, isBone, mm) {
    let left = Uint8Array.from(labels.v, (l) => (isBone(l) ? 1 : 0));
    for (let axis = 0; axis < 3; axis++) {
        const step = [1, labels.dim[0], labels.dim[0] * labels.dim[1]][axis], n = labels.dim[axis];
        const reach = Math.max(1, Math.round(mm / labels.spacing[axis])), next = left.slice();
        for (let m = 0; m < left.length; m++) {
            const at = Math.floor(m / step) % n;
            for (let t = -reach; t <= reach && next[m]; t++)
                if (at + t >= 0 && at + t < n && (!left[m + t * step] || labels.v[m + t * step] !== labels.v[m])) next[m] = 0;
        }
        left = next;
    }
    return left;
}

// Inside of the body: between labelled voxels of the row and of the column.
function body(labels) {
    const [nx, ny, nz] = labels.dim, inside = new Uint8Array(labels.v.length);
    for (let k = 0; k < nz; k++) {
        const first = new Int32Array(nx).fill(ny), last = new Int32Array(nx).fill(-1);
        for (let j = 0; j < ny; j++)
            for (let i = 0; i < nx; i++)
                if (labels.v[i + nx * (j + ny * k)]) (first[i] = Math.min(first[i], j)), (last[i] = j);
        for (let j = 0; j < ny; j++) {
            const row = labels.v.subarray(nx * (j + ny * k), nx * (j + 1 + ny * k));
            let left = row.findIndex((l) => l), right = nx - 1;
            if (left < 0) left = nx;
            while (right >= left && !row[right]) right--;
            for (let i = 0; i < nx; i++)
                if ((i >= left && i <= right) || (j >= first[i] && j <= last[i])) inside[i + nx * (j + ny * k)] = 1;
        }
    }
    return inside;
}

// Unlabelled cavities that a label closes in, in slices square to any axis, up to 300 mm²: the marrow of a bone drawn as a
// shell. They become part of it.
export function fillCavities(labels, label) {
    const v = labels.v, dim = labels.dim, step = [1, dim[0], dim[0] * dim[1]];
    for (let axis = 0; axis < 3; axis++) {
        const [a, b] = [0, 1, 2].filter((x) => x !== axis), most = 300 / (labels.spacing[a] * labels.spacing[b]);
        for (let slice = 0; slice < dim[axis]; slice++) {
            const seen = new Uint8Array(dim[a] * dim[b]), at = (m) => slice * step[axis] + (m % dim[a]) * step[a] + Math.floor(m / dim[a]) * step[b];
            for (let start = 0; start < seen.length; start++) {
                if (seen[start] || v[at(start)] === label) continue;
                const piece = [start];
                let open = false;
                seen[start] = 1;
                for (let n = 0; n < piece.length; n++) {
                    const x = piece[n] % dim[a], y = Math.floor(piece[n] / dim[a]);
                    if (x === 0 || y === 0 || x === dim[a] - 1 || y === dim[b] - 1) open = true;
                    const beside = [x > 0 ? piece[n] - 1 : -1, x < dim[a] - 1 ? piece[n] + 1 : -1, piece[n] - dim[a], piece[n] + dim[a]];
                    for (const m of beside)
                        if (m >= 0 && m < seen.length && !seen[m] && v[at(m)] !== label) (seen[m] = 1), piece.push(m);
                }
                if (!open && piece.length <= most) for (const m of piece) if (v[at(m)] === 0) v[at(m)] = label;
            }
        }
    }
}

function random(seed) { // mulberry32
    let a = seed >>> 0;
    return () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), a | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

// options: isBone(label), hu(label, inside) of all else, cortex {mm, hu}, spongy hu, blur mm, noise HU, seed, shrink [x, y, z]
// (block means: partial volume). Gives {image, labels} for saveVolume; labels are those of the blocks' middles.
export function ctFromLabels(labels, options) {
    const inside = body(labels), core = deep(labels, options.isBone, options.cortex.mm);
    let hu = new Float32Array(labels.v.length);
    for (let n = 0; n < hu.length; n++) {
        const l = labels.v[n];
        hu[n] = options.isBone(l) ? (core[n] ? options.spongy : options.cortex.hu) : options.hu(l, inside[n]);
    }
    for (let axis = 0; axis < 3; axis++) hu = along(hu, labels.dim, axis, gaussian(options.blur / labels.spacing[axis]));
    const s = options.shrink, dim = labels.dim.map((d, a) => Math.floor(d / s[a])), [nx, ny, nz] = dim, next = random(options.seed);
    const v = new Int16Array(nx * ny * nz), kept = new Int16Array(v.length);
    for (let k = 0, n = 0; k < nz; k++)
        for (let j = 0; j < ny; j++)
            for (let i = 0; i < nx; i++, n++) {
                let sum = 0;
                for (let c = 0; c < s[2]; c++)
                    for (let b = 0; b < s[1]; b++)
                        for (let a = 0; a < s[0]; a++) sum += hu[s[0] * i + a + labels.dim[0] * (s[1] * j + b + labels.dim[1] * (s[2] * k + c))];
                const noise = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()) * options.noise;
                v[n] = Math.max(-1024, Math.min(3071, Math.round(sum / (s[0] * s[1] * s[2]) + noise)));
                kept[n] = labels.v[s[0] * i + (s[0] >> 1) + labels.dim[0] * (s[1] * j + (s[1] >> 1) + labels.dim[1] * (s[2] * k + (s[2] >> 1)))];
            }
    const affine = labels.affine.map((row) => [row[0] * s[0], row[1] * s[1], row[2] * s[2],
        row[3] + (row[0] * (s[0] - 1) + row[1] * (s[1] - 1) + row[2] * (s[2] - 1)) / 2]);
    return { image: { dim, affine, type: 4, v }, labels: { dim, affine, v: kept } };
}

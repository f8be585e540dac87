// Reads NIfTI-1 and NIfTI-2, plain or gzip, for comparisons. Independent of workers/io on purpose.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const READERS = {
  2: ['getUint8', 1], 4: ['getInt16', 2], 8: ['getInt32', 4], 16: ['getFloat32', 4], 64: ['getFloat64', 8],
  256: ['getInt8', 1], 512: ['getUint16', 2], 768: ['getUint32', 4],
};

// { dim: [i, j, k], affine: 3 × 4 rows (RAS mm), at(index) → value }
export function readNifti(path) {
  let bytes = readFileSync(path);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const two = view.getInt32(0, true) === 540;
  if (!two && view.getInt32(0, true) !== 348) throw new Error(`${path} is no NIfTI file`);
  const dim = [1, 2, 3].map((n) => (two ? Number(view.getBigInt64(16 + 8 * n, true)) : view.getInt16(40 + 2 * n, true)));
  const type = view.getInt16(two ? 12 : 70, true);
  const offset = two ? Number(view.getBigInt64(168, true)) : view.getFloat32(108, true);
  const slope = two ? view.getFloat64(176, true) : view.getFloat32(112, true);
  const inter = two ? view.getFloat64(184, true) : view.getFloat32(116, true);
  const form = two ? view.getInt32(348, true) : view.getInt16(254, true);
  if (form <= 0) throw new Error(`${path} has no sform`);
  const affine = [0, 1, 2].map((r) => [0, 1, 2, 3].map((c) => (two
    ? view.getFloat64(400 + 32 * r + 8 * c, true) : view.getFloat32(280 + 16 * r + 4 * c, true))));
  const [reader, size] = READERS[type] ?? [];
  if (!reader) throw new Error(`${path} has data type ${type}`);
  const at = (index) => {
    const stored = view[reader](offset + size * index, true);
    return slope !== 0 && Number.isFinite(slope) ? stored * slope + inter : stored;
  };
  return { dim, affine, at };
}

export function toWorld(affine, p) {
  return affine.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3]);
}

function solve(affine, world) { // inverse of toWorld, by Cramer
  const [a, b, c] = affine.map((row) => row.slice(0, 3));
  const det = (x, y, z) => x[0] * (y[1] * z[2] - y[2] * z[1]) - x[1] * (y[0] * z[2] - y[2] * z[0])
    + x[2] * (y[0] * z[1] - y[1] * z[0]);
  const rhs = world.map((w, r) => w - affine[r][3]);
  const whole = det(a, b, c);
  return [0, 1, 2].map((n) => {
    const column = [a, b, c].map((row, r) => row.map((v, i) => (i === n ? rhs[r] : v)));
    return det(...column) / whole;
  });
}

// Every voxel of one lies on a voxel of the other (axes may be flipped or swapped), and holds the same value.
// Returns { voxels, different, worst, farthestMm }.
export function compareVolumes(ours, theirs) {
  const result = { voxels: 0, different: 0, worst: 0, farthestMm: 0 };
  const corner = solve(theirs.affine, toWorld(ours.affine, [0, 0, 0]));
  const steps = [0, 1, 2].map((n) => {
    const p = [0, 0, 0];
    p[n] = 1;
    return solve(theirs.affine, toWorld(ours.affine, p)).map((v, r) => Math.round(v - corner[r]));
  });
  const start = corner.map(Math.round);
  for (let k = 0; k < ours.dim[2]; k++) {
    for (let j = 0; j < ours.dim[1]; j++) {
      for (let i = 0; i < ours.dim[0]; i++) {
        const q = [0, 1, 2].map((r) => start[r] + steps[0][r] * i + steps[1][r] * j + steps[2][r] * k);
        result.voxels++;
        const inside = q.every((v, r) => v >= 0 && v < theirs.dim[r]);
        const a = ours.at((k * ours.dim[1] + j) * ours.dim[0] + i);
        const b = inside ? theirs.at((q[2] * theirs.dim[1] + q[1]) * theirs.dim[0] + q[0]) : NaN;
        if (a !== b) {
          result.different++;
          result.worst = Math.max(result.worst, Math.abs(a - b));
        }
        if (![0, ours.dim[0] - 1].includes(i) || ![0, ours.dim[1] - 1].includes(j)
          || ![0, ours.dim[2] - 1].includes(k)) continue;
        const mine = toWorld(ours.affine, [i, j, k]);
        const other = toWorld(theirs.affine, q);
        result.farthestMm = Math.max(result.farthestMm, Math.hypot(...mine.map((v, r) => v - other[r])));
      }
    }
  }
  return result;
}

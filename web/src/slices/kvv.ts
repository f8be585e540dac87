// The .kvv view container: volumes for the browser, coarsest level first, each part its own gzip member.
//
// int16 values are stored as two byte planes (all low bytes, then all high bytes) of the difference to the left
// neighbour, the first of a row as it is; uint8 as it is; float32 as four byte planes. See schema of `meta.view` in
// api/openapi.yaml.
import type { ViewLevel, ViewMeta } from '../api/types';

export type Voxels = Int16Array | Uint8Array | Float32Array;
export type VoxelType = ViewMeta['type'];

export class KvvError extends Error {}

export function allocate(type: VoxelType, count: number): Voxels {
  if (type === 'int16') return new Int16Array(count);
  return type === 'uint8' ? new Uint8Array(count) : new Float32Array(count);
}

const bytesOf: Record<VoxelType, number> = { int16: 2, uint8: 1, float32: 4 };

function undelta(raw: Uint8Array, rowLength: number): Int16Array {
  const count = raw.length / 2;
  const out = new Int16Array(count);
  const words = new Uint16Array(out.buffer);
  for (let row = 0; row < count; row += rowLength) {
    let value = 0;
    for (let at = row; at < row + rowLength; at++) {
      value = (value + (raw[at] | (raw[count + at] << 8))) & 0xffff;
      words[at] = value;
    }
  }
  return out;
}

function joinPlanes(raw: Uint8Array): Float32Array {
  const count = raw.length / 4;
  const bytes = new Uint8Array(raw.length);
  for (let plane = 0; plane < 4; plane++) {
    for (let at = 0; at < count; at++) bytes[at * 4 + plane] = raw[plane * count + at];
  }
  return new Float32Array(bytes.buffer);
}

/** Undoes the coding of one inflated part. Throws KvvError when the length is not that of slices × rows × columns. */
export function decodePart(raw: Uint8Array, type: VoxelType, dim: readonly number[], slices: number): Voxels {
  const count = dim[0] * dim[1] * slices;
  if (raw.length !== count * bytesOf[type]) {
    throw new KvvError(`A part of the volume holds ${raw.length} bytes where ${count * bytesOf[type]} belong.`);
  }
  if (type === 'int16') return undelta(raw, dim[0]);
  return type === 'uint8' ? raw : joinPlanes(raw);
}

/** Inflates one gzip member. */
export async function inflate(packed: ArrayBuffer): Promise<Uint8Array> {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Checks what the server says about the container before memory is taken on its word. */
export function checkView(view: ViewMeta, dim: readonly number[]): void {
  if (view.format !== 1) throw new KvvError(`View format ${view.format} is newer than this page: reload it.`);
  if (!(view.type in bytesOf)) throw new KvvError(`Voxels of type ${String(view.type)} cannot be shown.`);
  if (view.levels.length === 0) throw new KvvError('The view has no levels.');
  for (const level of view.levels) {
    let next = 0;
    for (const part of level.parts) {
      if (part.k0 !== next || part.k1 <= part.k0 || part.length <= 0 || part.offset < 0) {
        throw new KvvError('The parts of the view do not follow each other.');
      }
      next = part.k1;
    }
    if (next !== level.dim[2]) throw new KvvError('The parts of the view do not cover all slices.');
  }
  const finest = view.levels[view.levels.length - 1];
  if (finest.dim.some((n, axis) => n !== dim[axis])) throw new KvvError('The finest level is not the full volume.');
}

/** Fills slices k0..k1-1 of the full grid from a coarse level, each voxel from the block it lies in. */
export function spread(
  coarse: Voxels, level: ViewLevel, full: Voxels, dim: readonly number[], k0: number, k1: number,
): void {
  const [fi, fj, fk] = level.factor;
  const [ci, cj, ck] = level.dim;
  const column = new Int32Array(dim[0]);
  for (let i = 0; i < dim[0]; i++) column[i] = Math.min(ci - 1, Math.floor(i / fi));
  for (let k = k0; k < k1; k++) {
    const kc = Math.min(ck - 1, Math.floor(k / fk));
    for (let j = 0; j < dim[1]; j++) {
      const from = (kc * cj + Math.min(cj - 1, Math.floor(j / fj))) * ci;
      const to = (k * dim[1] + j) * dim[0];
      for (let i = 0; i < dim[0]; i++) full[to + i] = coarse[from + column[i]];
    }
  }
}

/** Order in which to fetch parts: those nearest to the slice that is looked at first. */
export function partOrder(level: ViewLevel, slice: number, done: ReadonlySet<number>): number[] {
  const distance = (index: number) => {
    const part = level.parts[index];
    if (slice < part.k0) return part.k0 - slice;
    return slice >= part.k1 ? slice - part.k1 + 1 : 0;
  };
  return level.parts
    .map((_, index) => index)
    .filter((index) => !done.has(index))
    .sort((a, b) => distance(a) - distance(b) || a - b);
}

import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { ViewLevel, ViewMeta } from '../src/api/types';
import { checkView, decodePart, inflate, KvvError, partOrder, spread } from '../src/slices/kvv';

/** The coding of the container, written down a second time and the plain way. */
function encode16(values: Int16Array, row: number): Uint8Array {
  const raw = new Uint8Array(values.length * 2);
  for (let at = 0; at < values.length; at++) {
    const delta = (values[at] - (at % row === 0 ? 0 : values[at - 1])) & 0xffff;
    raw[at] = delta & 255;
    raw[values.length + at] = delta >> 8;
  }
  return raw;
}

const level = (dim: [number, number, number], parts: [number, number][], factor: [number, number, number] = [1, 1, 1]): ViewLevel => ({
  dim, factor, spacing_mm: [1, 1, 1], origin_lps: [0, 0, 0],
  parts: parts.map(([k0, k1], i) => ({ k0, k1, offset: i * 10, length: 10 })),
});

describe('decoding a part', () => {
  it('gives back every int16, also the extremes and those that wrap', () => {
    const values = Int16Array.from([-32768, 32767, -1, 0, 1, -1024, 3071, 255, 256, -256, 127, 128]);
    expect(decodePart(encode16(values, 3), 'int16', [3, 2], 2)).toEqual(values);
  });

  it('starts each row afresh', () => {
    const values = Int16Array.from([100, 101, -500, -499]);
    expect([...decodePart(Uint8Array.from([100, 1, 12, 1, 0, 0, 254, 0]), 'int16', [2, 2], 1)]).toEqual([...values]);
  });

  it('joins the four planes of float32', () => {
    const values = Float32Array.from([1.5, -0.001, 3e30, -0]);
    const bytes = new Uint8Array(values.buffer);
    const planes = Uint8Array.from({ length: 16 }, (_, n) => bytes[(n % 4) * 4 + Math.floor(n / 4)]);
    expect(decodePart(planes, 'float32', [2, 2], 1)).toEqual(values);
  });

  it('takes labels as they are', () => {
    expect(decodePart(Uint8Array.from([0, 1, 2, 255]), 'uint8', [2, 1], 2)).toEqual(Uint8Array.from([0, 1, 2, 255]));
  });

  it('refuses a part of another length', () => {
    expect(() => decodePart(new Uint8Array(7), 'int16', [2, 2], 1)).toThrow(KvvError);
    expect(() => decodePart(new Uint8Array(9), 'uint8', [2, 2], 2)).toThrow(KvvError);
  });

  it('inflates one gzip member and refuses what is none', async () => {
    const packed = gzipSync(Uint8Array.from([5, 6, 7]));
    expect(await inflate(packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.length) as ArrayBuffer)).toEqual(Uint8Array.from([5, 6, 7]));
    await expect(inflate(new ArrayBuffer(16))).rejects.toThrow();
  });
});

describe('what the server says about a container', () => {
  const good: ViewMeta = { format: 1, type: 'int16', levels: [level([4, 4, 5], [[0, 5]], [2, 2, 2]), level([8, 8, 10], [[0, 4], [4, 10]])] };
  it('is taken when it is whole', () => expect(() => checkView(good, [8, 8, 10])).not.toThrow());

  it('is refused when it is not', () => {
    const wrong: [ViewMeta, number[]][] = [
      [{ ...good, format: 2 }, [8, 8, 10]],
      [{ ...good, type: 'uint64' as 'uint8' }, [8, 8, 10]],
      [{ ...good, levels: [] }, [8, 8, 10]],
      [good, [8, 8, 11]],
      [{ ...good, levels: [level([8, 8, 10], [[0, 4], [5, 10]])] }, [8, 8, 10]],
      [{ ...good, levels: [level([8, 8, 10], [[0, 4]])] }, [8, 8, 10]],
      [{ ...good, levels: [level([8, 8, 10], [[0, 4], [4, 4], [4, 10]])] }, [8, 8, 10]],
    ];
    for (const [view, dim] of wrong) expect(() => checkView(view, dim)).toThrow(KvvError);
  });
});

describe('the coarse picture', () => {
  it('fills every voxel from the block it lies in, also where the last block is not whole', () => {
    const coarse = Int16Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
    const full = new Int16Array(3 * 3 * 3);
    spread(coarse, level([2, 2, 2], [[0, 2]], [2, 2, 2]), full, [3, 3, 3], 0, 3);
    expect([...full.subarray(0, 9)]).toEqual([1, 1, 2, 1, 1, 2, 3, 3, 4]);
    expect([...full.subarray(18)]).toEqual([5, 5, 6, 5, 5, 6, 7, 7, 8]);
  });
});

describe('the order of parts', () => {
  const parts = level([4, 4, 64], [[0, 16], [16, 32], [32, 48], [48, 64]]);
  it('goes outward from the slice that is looked at', () => {
    expect(partOrder(parts, 20, new Set())).toEqual([1, 0, 2, 3]);
    expect(partOrder(parts, 63, new Set())).toEqual([3, 2, 1, 0]);
  });
  it('leaves out what is there', () => expect(partOrder(parts, 20, new Set([1, 2]))).toEqual([0, 3]));
});

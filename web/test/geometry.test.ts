import { describe, expect, it } from 'vitest';
import type { GridMeta } from '../src/api/types';
import {
  centreLps, dot, fitView, ijkToLps, isSoundGrid, letters, lpsToIjk, matchAxes, onSlice, orientations, planeOf, scaleBar,
  sliceAt, snapped, toPatient, toScreen, type Vec3,
} from '../src/slices/geometry';

const plain: GridMeta = {
  dim: [256, 256, 93], spacing_mm: [0.9375, 0.9375, 1.5], origin_lps: [-120, -110, -138], direction: [1, 0, 0, 0, 1, 0, 0, 0, 1],
};
// Sagittal spine MR: columns run posterior, rows run down, slices run to the patient's right.
const sagittal: GridMeta = {
  dim: [320, 320, 15], spacing_mm: [0.8, 0.8, 4], origin_lps: [28, -120, 130], direction: [0, 0, -1, 1, 0, 0, 0, -1, 0],
};
// Turned by 20° about the patient's left-right axis.
const c = Math.cos(Math.PI / 9);
const s = Math.sin(Math.PI / 9);
const oblique: GridMeta = {
  dim: [100, 80, 60], spacing_mm: [1, 1.2, 2], origin_lps: [10, 20, 30], direction: [1, 0, 0, 0, c, -s, 0, s, c],
};

describe('voxels and millimetres', () => {
  it('go there and back on plain, permuted and oblique grids', () => {
    for (const grid of [plain, sagittal, oblique]) {
      const ijk: Vec3 = [3.25, 17, 8.5];
      lpsToIjk(grid, ijkToLps(grid, ijk)).forEach((value, axis) => expect(value).toBeCloseTo(ijk[axis], 9));
    }
  });

  it('put the first voxel at the origin and follow the columns of the direction', () => {
    expect(ijkToLps(sagittal, [0, 0, 0])).toEqual([28, -120, 130]);
    expect(ijkToLps(sagittal, [10, 0, 0])[1]).toBeCloseTo(-112);
    expect(ijkToLps(sagittal, [0, 10, 0])[2]).toBeCloseTo(122);
    expect(ijkToLps(sagittal, [0, 0, 1])[0]).toBeCloseTo(24);
  });

  it('refuse grids that are mirrored, degenerate or not finite', () => {
    expect(isSoundGrid(plain)).toBe(true);
    expect(isSoundGrid(sagittal)).toBe(true);
    expect(isSoundGrid({ ...plain, direction: [-1, 0, 0, 0, 1, 0, 0, 0, 1] })).toBe(false);
    expect(isSoundGrid({ ...plain, spacing_mm: [1, 0, 1] })).toBe(false);
    expect(isSoundGrid({ ...plain, origin_lps: [NaN, 0, 0] })).toBe(false);
    expect(isSoundGrid({ ...plain, dim: [256, 256, 1.5] })).toBe(false);
    expect(isSoundGrid({ ...plain, direction: [1, 0, 0, 0, 1, 0, 0, 1, 0] })).toBe(false);
  });
});

describe('the three views', () => {
  it('show the patient as radiologists look: right of the screen is left, posterior is down', () => {
    const axial = planeOf(plain, 'axial');
    expect([letters(axial.right), letters(axial.down), axial.axis]).toEqual(['L', 'P', 2]);
    const coronal = planeOf(plain, 'coronal');
    expect([letters(coronal.right), letters(coronal.down), coronal.axis]).toEqual(['L', 'I', 1]);
    const side = planeOf(plain, 'sagittal');
    expect([letters(side.right), letters(side.down), side.axis]).toEqual(['P', 'I', 0]);
  });

  it('find the right axis in a scan whose axes are permuted', () => {
    expect(matchAxes(sagittal)).toEqual([2, 0, 1]);
    for (const orientation of orientations) {
      const plane = planeOf(sagittal, orientation);
      const flat = planeOf(plain, orientation);
      expect(letters(plane.right)).toBe(letters(flat.right));
      expect(letters(plane.down)).toBe(letters(flat.down));
    }
    expect(planeOf(sagittal, 'sagittal').axis).toBe(2);
  });

  it('say in letters how oblique a view is', () => {
    expect(letters(planeOf(oblique, 'axial').down)).toBe('PS');
    expect(letters(planeOf(oblique, 'sagittal').down)).toBe('IP');
    expect(letters([0.2, 0.98, 0])).toBe('P');
  });

  it('look into the patient: right, down and into are a right-handed frame', () => {
    for (const grid of [plain, sagittal, oblique]) {
      for (const orientation of orientations) {
        const plane = planeOf(grid, orientation);
        expect(Math.abs(dot(plane.right, plane.down))).toBeLessThan(1e-9);
        expect(Math.abs(dot(plane.into, plane.right))).toBeLessThan(1e-9);
        expect(dot(plane.into, plane.into)).toBeCloseTo(1);
      }
      expect(planeOf(grid, 'axial').into[2]).toBeGreaterThan(0.9);
      expect(planeOf(grid, 'coronal').into[1]).toBeGreaterThan(0.9);
      expect(planeOf(grid, 'sagittal').into[0]).toBeLessThan(-0.9);
    }
  });

  it('take a point to the screen and back', () => {
    const size = { width: 640, height: 480 };
    for (const grid of [plain, sagittal, oblique]) {
      for (const orientation of orientations) {
        const plane = planeOf(grid, orientation);
        const view = fitView(grid, plane, size);
        const focus = snapped(grid, plane, centreLps(grid));
        const point = toPatient(plane, view, size, [123, 321], focus);
        const [x, y] = toScreen(plane, view, size, point);
        expect(x).toBeCloseTo(123, 6);
        expect(y).toBeCloseTo(321, 6);
        expect(sliceAt(grid, plane, point)).toBe(sliceAt(grid, plane, focus));
      }
    }
  });
});

describe('slices', () => {
  it('are counted along the axis and kept inside', () => {
    const plane = planeOf(plain, 'axial');
    expect(sliceAt(plain, plane, ijkToLps(plain, [0, 0, 40.4]))).toBe(40);
    expect(sliceAt(plain, plane, [0, 0, 9999])).toBe(92);
    expect(sliceAt(plain, plane, [0, 0, -9999])).toBe(0);
  });

  it('move a point along the axis only', () => {
    const plane = planeOf(oblique, 'axial');
    const from = ijkToLps(oblique, [20, 30, 10]);
    lpsToIjk(oblique, onSlice(oblique, plane, from, 25)).forEach((v, axis) => expect(v).toBeCloseTo([20, 30, 25][axis], 9));
  });
});

describe('the scale bar', () => {
  it('is a round length that fits', () => {
    expect(scaleBar(0.5, 140)).toEqual({ mm: 50, px: 100 });
    expect(scaleBar(0.05, 140).mm).toBe(5);
    for (const mmPerPx of [0.013, 0.2, 0.77, 3.1]) {
      const bar = scaleBar(mmPerPx, 140);
      expect(bar.px).toBeLessThanOrEqual(140);
      expect(bar.px).toBeGreaterThan(140 / 3);
    }
  });
});

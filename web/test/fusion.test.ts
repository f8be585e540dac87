import { describe, expect, it } from 'vitest';
import type { Artefact, ArtefactMeta, GridMeta, JobParam } from '../src/api/types';
import { structuresOf, tieOf, volumesOf } from '../src/case/model';
import { paramFault, paramName } from '../src/case/run';
import { carriedSide, carry, cutLabels, fusionFor, labelSides, pixelWalk, sample, tint, type Fusion } from '../src/slices/fusion';
import { ijkToLps, lpsToIjk, planeOf, toPatient, type Vec3 } from '../src/slices/geometry';
import { ViewState } from '../src/slices/state';
import type { ViewVolume } from '../src/slices/volume';

const grid: GridMeta = { dim: [8, 9, 7], spacing_mm: [1, 1, 2], origin_lps: [-4, -5, -6], direction: [1, 0, 0, 0, 1, 0, 0, 0, 1] };
const oblique: GridMeta = { ...grid, spacing_mm: [0.7, 1.1, 1.5], origin_lps: [3, -2, 1], direction: [0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1] };
const turn = [[0, -1, 0, 4], [1, 0, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1]];
const back = [[0, 1, 0, 3], [-1, 0, 0, 4], [0, 0, 1, -2], [0, 0, 0, 1]];

describe('the fused view', () => {
  it('reads each pixel where its point lies in the second scan, through the transform', () => {
    const plane = planeOf(grid, 'coronal');
    const view = { centre: [0.5, 1, 2] as Vec3, mmPerPx: 0.4 };
    const [size, focus]: [{ width: number; height: number }, Vec3] = [{ width: 200, height: 120 }, [0, 1, 0]];
    const walk = pixelWalk({ tie: turn, volume: { grid: oblique } }, plane, view, size, focus);
    for (const [x, y] of [[0, 0], [150, 20], [33, 117]]) {
      const expected = lpsToIjk(oblique, carry(turn, toPatient(plane, view, size, [x + 0.5, y + 0.5], focus)));
      const got = [0, 1, 2].map((c) => walk.start[c] + x * walk.across[c] + y * walk.down[c]);
      got.forEach((value, c) => expect(value).toBeCloseTo(expected[c], 9));
    }
  });

  it('interpolates a linear field exactly and is nothing outside', () => {
    const voxels = Float32Array.from({ length: 8 * 9 * 7 }, (_, n) => 3 * (n % 8) - 2 * (Math.floor(n / 8) % 9) + 5 * Math.floor(n / 72));
    expect(sample(voxels, grid.dim, 2.25, 3.5, 4.75)).toBeCloseTo(3 * 2.25 - 2 * 3.5 + 5 * 4.75, 5);
    expect(sample(voxels, grid.dim, 7, 8, 6)).toBe(3 * 7 - 2 * 8 + 5 * 6);
    for (const p of [[-0.6, 0, 0], [0, 8.6, 0], [0, 0, 6.6], [NaN, 0, 0]]) expect(sample(voxels, grid.dim, p[0], p[1], p[2])).toBeNaN();
  });

  it('has colour maps that only grow lighter', () => {
    const light = ([r, g, b]: number[]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
    for (const map of ['grey', 'amber', 'blue'] as const) {
      for (let g = 1; g < 256; g++) expect(light(tint(map, g))).toBeGreaterThanOrEqual(light(tint(map, g - 1)));
    }
  });
});

describe('two scans side by side', () => {
  const volume = (g: GridMeta) => ({ grid: g }) as ViewVolume;
  const fusion = (change: Partial<Fusion>): Fusion => ({
    volume: volume(oblique), name: 'MR', units: '1', tie: turn, window: { centre: 5, width: 10 }, range: [0, 10], mode: 'beside', colours: 'amber', blend: 0.5,
    tileMm: 20, only: null, bothLabels: false, ...change,
  });

  it('gives each side its own scan, and one of both to every pane when flicking', () => {
    expect(fusionFor(fusion({}), 'first')).toBeNull();
    expect(fusionFor(fusion({}), 'second')).toMatchObject({ only: 'second', colours: 'grey' });
    expect(fusionFor(fusion({ only: 'second' }), 'first')).toMatchObject({ only: 'second' });
    expect(fusionFor(fusion({ mode: 'blend' }), 'second')).toBeNull();
    expect(fusionFor(null, 'first')).toBeNull();
  });

  it('draws the labels of the scan a pane shows, and says it where it draws the others', () => {
    const told = (change: Partial<Fusion>, side: 'first' | 'second') => [labelSides(fusion(change), side).join('+'), carriedSide(fusion(change), side)];
    expect([told({}, 'first'), told({}, 'second')]).toEqual([['first', null], ['second', null]]);
    expect([told({ bothLabels: true }, 'first'), told({ bothLabels: true }, 'second')]).toEqual([['first+second', 'second'], ['second+first', 'first']]);
    expect([told({ mode: 'blend' }, 'first'), told({ only: 'second' }, 'first')]).toEqual([['first', null], ['second', null]]);
    expect(told({ mode: 'blend', only: 'second', bothLabels: true }, 'first')).toEqual(['second+first', 'first']);
    expect([labelSides(null, 'first'), carriedSide(null, 'first')]).toEqual([['first'], null]);
  });

  it('cuts labels where their voxels lie in the second scan, and nothing outside', () => {
    const voxels = Uint8Array.from({ length: 8 * 9 * 7 }, (_, n) => (n % 251) + 1);
    const plane = planeOf(grid, 'sagittal');
    const view = { centre: [0, 0, 1] as Vec3, mmPerPx: 0.9 };
    const [size, focus]: [{ width: number; height: number }, Vec3] = [{ width: 60, height: 50 }, [1, 0, 0]];
    const { labels, width } = cutLabels({ grid: oblique, voxels } as unknown as ViewVolume, turn, plane, view, size, focus);
    let inside = 0;
    for (let y = 0; y < 50; y++) {
      for (let x = 0; x < 60; x++) {
        const [i, j, k] = lpsToIjk(oblique, carry(turn, toPatient(plane, view, size, [x + 0.5, y + 0.5], focus))).map(Math.round);
        const there = i >= 0 && j >= 0 && k >= 0 && i < 8 && j < 9 && k < 7;
        expect(labels[y * width + x]).toBe(there ? voxels[(k * 9 + j) * 8 + i] : 0);
        if (there) inside++;
      }
    }
    expect(inside).toBeGreaterThan(20);
    expect(inside).toBeLessThan(60 * 50 / 2);
  });

  it('keeps a window for each scan: a pane changes that of the scan it shows', () => {
    const state = new ViewState();
    state.window.value = { centre: 500, width: 2000 };
    expect(state.windowSide('second')).toBe('first');
    state.fusion.value = fusion({});
    state.setWindow(state.windowSide('second'), { centre: 7, width: 3 });
    expect([state.window.value.centre, state.windowOf('second').centre, state.spanOf('second')]).toEqual([500, 7, 10]);
    state.fuse({ only: 'second' });
    expect([state.windowSide('first'), state.beside.value]).toEqual(['second', false]);
  });

  it('stays at its point of the patient when the scans change places', () => {
    const state = new ViewState();
    state.open(volume(grid), null);
    state.moveTo([-1, -2, 0]);
    state.views.value = { axial: { centre: [1, 2, 0], mmPerPx: 0.3 } };
    const there: GridMeta = { ...grid, dim: [40, 40, 40], origin_lps: [-20, -20, -20] };
    state.open(volume(there), turn, true);
    carry(turn, [-1, -2, 0]).forEach((c, i) => expect(state.cursor.value[i]).toBeCloseTo(c, 9));
    expect(state.views.value.axial).toEqual({ centre: carry(turn, [1, 2, 0]), mmPerPx: 0.3 });
    state.open(volume(grid), null);
    expect(state.views.value).toEqual({});
  });
});

let serial = 0;
const artefact = (kind: string, name: string, meta: ArtefactMeta, madeFrom: [string, Artefact][] = [], series = 's'): Artefact => ({
  id: `id${++serial}`, case_id: 'c', series_id: series, job_id: 'j', name, kind, sha256: `${serial}`.padStart(64, '0'), bytes: 1,
  media_type: '', meta, superseded: false, created_at: `2026-01-01T00:00:${String(serial % 60).padStart(2, '0')}Z`, url: `/b/${serial}`,
  made_from: madeFrom.map(([role, source]) => ({ name: role, sha256: source.sha256 })),
});

describe('what was made from what', () => {
  const [ct, mr] = [artefact('volume', 'ct', { grid, modality: 'CT' }, [], 'a'), artefact('volume', 'mr', { grid: oblique, modality: 'MR' }, [], 'b')];
  const views = [artefact('volume.view', 'view', { grid }, [['volume', ct]], 'a'), artefact('volume.view', 'view', { grid: oblique }, [['volume', mr]], 'b')];
  const transform = (model: string) => artefact('transform', 'transform', { matrix: turn, inverse: back, model }, [['fixed', ct], ['moving', mr]], 'a');

  it('ties two scans by a registration, both ways, and by nothing else', () => {
    const [shown, other] = volumesOf([ct, mr, ...views]);
    expect(tieOf(shown, other, [])).toBeNull();
    expect(tieOf(shown, other, [transform('rigid')])).toEqual(turn);
    expect(tieOf(other, shown, [transform('rigid')])).toEqual(back);
    expect(tieOf(shown, other, [transform('deformable')])).toBeNull();
    const there = carry(turn, ijkToLps(grid, [1, 2, 3]));
    carry(back, there).forEach((c, i) => expect(c).toBeCloseTo(ijkToLps(grid, [1, 2, 3])[i], 9));
  });

  it('tells the resampled scan on the same grid from the scan itself', () => {
    const warped = artefact('volume', 'warped', { grid, modality: 'MR', of: 'moving', series_description: 'T2' }, [['fixed', ct], ['moving', mr]], 'a');
    const view = artefact('volume.view', 'view', { grid }, [['volume', warped]], 'a');
    expect(volumesOf([ct, warped, views[0], view]).map((v) => [v.source?.name, v.name])).toEqual([['ct', `Unnamed, ${grid.spacing_mm[2].toFixed(1)} mm slices`], ['warped', 'T2, aligned']]);
  });

  it('gives each of two segmentations of one scan its own surfaces, confidence and review flag', () => {
    const segments = (confidence: number, state?: string) => [{ label: 1, name: 'L4', colour: '#fff', confidence, ...(state ? { state } : {}) }];
    const [one, two] = [artefact('segmentation', 'labels', { grid, segments: segments(0.9) }), artefact('segmentation', 'labels', { grid, segments: segments(0.4, 'needs_review') })];
    const mesh = (of: Artefact) => artefact('mesh.view', 'm.glb', { segment: 1, lod: 0 }, [['labels', of]]);
    const [a, b] = [mesh(two), mesh(one)];
    // Both have one grid and one series: only what its job read says whose labels a view holds.
    const [first, second] = [one, two].map((of) => artefact('segmentation.view', 'labels', { grid }, [['volume', of]]));
    const found = structuresOf([one, two, a, b, first, second]);
    expect(found.map((s) => [s.name, s.surfaces[0].id, s.labels?.id, s.confidence, s.review]))
      .toEqual([['L4', b.id, first.id, 0.9, false], ['L4 2', a.id, second.id, 0.4, true]]);
    expect(new Set(found.map((s) => s.key)).size).toBe(2);
  });
});

describe('a parameter', () => {
  const param: JobParam = { name: 'threshold_hu', type: 'integer', default: 1, minimum: 0, maximum: 9, unit: 'HU', help: '' };
  it('says its limits', () => {
    expect(paramFault(param, 10)).toBe('From 0 to 9 HU.');
    expect(paramFault(param, NaN)).not.toBe('');
    expect(paramFault(param, 1.5)).not.toBe('');
    expect(paramFault(param, 9)).toBe('');
    expect(paramName('threshold_hu')).toBe('Threshold');
    expect(paramName('bone_hu')).toBe('Bone threshold');
  });
});

import { describe, expect, it } from 'vitest';
import type { Artefact, ArtefactMeta, GridMeta } from '../src/api/types';
import { firstVolume, notesOf, structuresOf, volumesOf } from '../src/case/model';
import { placeOf } from '../src/case/placement';
import { correctionName } from '../src/ui/format';

const grid = (k: number, mm = 1): GridMeta => ({ dim: [10, 10, k], spacing_mm: [mm, mm, mm], origin_lps: [0, 0, 0], direction: [1, 0, 0, 0, 1, 0, 0, 0, 1] });
let serial = 0;
const artefact = (kind: string, name: string, series: string, meta: ArtefactMeta, superseded = false): Artefact => ({
  id: `id${++serial}`, case_id: 'c', series_id: series, job_id: 'j', name, kind, sha256: `${serial}`.padStart(64, '0'), bytes: 1,
  media_type: '', meta, superseded, created_at: `2026-01-01T00:00:${String(serial % 60).padStart(2, '0')}Z`, url: `/b/${serial}`,
});

describe('volumes', () => {
  it('take modality and quality from the volume they show, also when one series gave two', () => {
    const list = [
      artefact('volume', 'volume.0.nii', 's', { grid: grid(9), modality: 'CT', series_description: 'Bone' }),
      artefact('volume', 'volume.1.nii', 's', { grid: grid(4), modality: 'CT', series_description: 'Scout' }),
      artefact('volume.view', 'volume.1.kvv', 's', { grid: grid(4) }),
      artefact('volume.view', 'volume.0.kvv', 's', { grid: grid(9) }),
    ];
    expect(volumesOf(list).map((v) => [v.name, v.meta.modality, v.view.name])).toEqual([
      ['Scout', 'CT', 'volume.1.kvv'], ['Bone', 'CT', 'volume.0.kvv'],
    ]);
  });

  it('leave out what a grown series replaced', () => {
    expect(volumesOf([artefact('volume.view', 'volume.0.kvv', 's', { grid: grid(9) }, true)])).toEqual([]);
  });

  it('open with the finest CT', () => {
    const volumes = volumesOf([
      artefact('volume.view', 'mr.kvv', 'm', { grid: grid(9, 0.4), modality: 'MR' }),
      artefact('volume.view', 'thick.kvv', 't', { grid: grid(9, 3), modality: 'CT' }),
      artefact('volume.view', 'thin.kvv', 'f', { grid: grid(9, 0.6), modality: 'CT' }),
    ]);
    expect(firstVolume(volumes)?.view.name).toBe('thin.kvv');
    expect(firstVolume([])).toBeUndefined();
  });
});

describe('structures', () => {
  const segmentation = (series: string) => artefact('segmentation', 'labels.nii.gz', series, {
    grid: grid(9), segments: [{ label: 1, name: 'Bone', colour: '#eeddcc', volume_ml: 12 }],
  });

  it('come coarse before fine, with labels and files of their own series', () => {
    const list = [
      segmentation('a'),
      artefact('segmentation.view', 'labels.kvv', 'a', { grid: grid(9) }),
      artefact('mesh.view', 'bone.lod0.glb', 'a', { segment: 1, lod: 0 }),
      artefact('mesh.view', 'bone.lod2.glb', 'a', { segment: 1, lod: 2 }),
      artefact('mesh.view', 'bone.lod1.glb', 'a', { segment: 1, lod: 1 }),
      artefact('mesh.view', 'bone.lod0.glb', 'other', { segment: 1, lod: 0 }),
      artefact('mesh', 'bone.stl', 'a', { segment: 1 }),
      artefact('mesh', 'bone.ply', 'a', { segment: 1, closed: true }),
    ];
    const [bone, ...rest] = structuresOf(list);
    expect(rest).toEqual([]);
    expect(bone.surfaces.map((s) => s.name)).toEqual(['bone.lod2.glb', 'bone.lod1.glb', 'bone.lod0.glb']);
    expect(bone.surfaces.every((s) => s.series_id === 'a')).toBe(true);
    expect(bone.labels?.name).toBe('labels.kvv');
    expect(bone.master?.name).toBe('bone.ply');
    expect(bone.files).toHaveLength(2);
  });

  it('are not shown at once where they would hide what is told apart', () => {
    const parts = (name: string) => artefact('segmentation', name, 'a', {
      grid: grid(9), segments: ['Skull', 'Mandible', 'Skin'].map((own, n) => ({ label: n + 1, name: own, colour: '#eeddcc' })),
    });
    const surface = (of: Artefact) => ({ ...artefact('mesh.view', 'x.lod0.glb', 'a', { segment: 1, lod: 0 }), made_from: [{ name: 'labels', sha256: of.sha256 }] });
    const solid = (...list: Artefact[]) => list.flatMap((of) => [of, surface(of)]);
    const covering = (...list: Artefact[]) => structuresOf(list).filter((s) => s.covers).map((s) => s.name);
    expect(covering(...solid(segmentation('a')))).toEqual([]);
    expect(covering(...solid(segmentation('a'), parts('head')))).toEqual(['Bone', 'Skin']);
    expect(covering(...solid(segmentation('a')), parts('head'))).toEqual(['Skin']); // the parts have no surfaces yet: nothing would be seen
    expect(covering(...solid(segmentation('b'), parts('head')))).toEqual(['Skin']);
    expect(covering(...solid(parts('head'), segmentation('a')))).toEqual(['Skin']); // bone was asked for after the parts
    expect(covering(...solid(segmentation('a'), segmentation('a')))).toEqual(['Bone']); // the newer of both is seen
    expect(covering(...solid(parts('head'), parts('head')))).toEqual(['Skull', 'Mandible', 'Skin', 'Skin 2']);
    const of = (seg: Artefact, sha256: string) => ({ ...seg, made_from: [{ name: 'volume', sha256 }] });
    expect(covering(...solid(of(segmentation('a'), '1'), of(segmentation('a'), '2')))).toEqual([]); // two volumes of one series
  });

  it('keep their key when they are made again', () => {
    expect(structuresOf([segmentation('a')])[0].key).toBe(structuresOf([segmentation('a')])[0].key);
    expect(structuresOf([segmentation('a')])[0].key).not.toBe(structuresOf([segmentation('b')])[0].key);
  });
});

describe('two scans of one patient', () => {
  const volumes = (ctFrame: string, mrFrame: string) => volumesOf([
    artefact('volume.view', 'ct.kvv', 'ct', { grid: grid(9), frame_of_reference_uid: ctFrame }),
    artefact('volume.view', 'mr.kvv', 'mr', { grid: grid(9), frame_of_reference_uid: mrFrame }),
  ]);
  const [bone] = structuresOf([artefact('segmentation', 'labels', 'ct', {
    grid: grid(9), segments: [{ label: 1, name: 'Bone', colour: '#eeddcc' }],
  })]);

  it('are one anatomy only in one frame of reference', () => {
    const [ct, mr] = volumes('1.2', '1.3');
    expect(placeOf(bone, ct, [ct, mr], [])).not.toBeNull();
    expect(placeOf(bone, mr, [ct, mr], [])).toBeNull();
    const [, same] = volumes('1.2', '1.2');
    expect(placeOf(bone, same, volumes('1.2', '1.2'), [])).not.toBeNull();
  });
  it('are not one anatomy when neither says its frame', () => {
    const [ct, mr] = volumes('', '');
    expect(placeOf(bone, mr, [ct, mr], [])).toBeNull();
  });
});

describe('what the signer must know', () => {
  it('says why, with the measure', () => {
    const [gate, tilt] = notesOf({
      quality: { slice_thickness_mm: 1.5, gate: 'no_guide' }, corrections: [{ code: 'gantry_tilt_sheared', detail: '18.5 degrees' }],
    }, correctionName);
    expect(gate.level).toBe('stop');
    expect(gate.detail).toContain('1.50 mm');
    expect(tilt).toMatchObject({ level: 'info', title: 'Gantry tilt corrected', detail: '18.5 degrees' });
  });
  it('takes no thickness of 0 for a distance', () => {
    const said = (slice_thickness_mm: number, slice_spacing_mm: number) => notesOf({ quality: { slice_thickness_mm, slice_spacing_mm, gate: 'no_guide' } }, correctionName)[0].detail;
    expect(said(0, 4.85)).toMatch(/^Slices are 4.85 mm apart\. /);
    expect(said(3, 2)).toMatch(/^Slices are 2.00 mm apart and 3.00 mm thick\. /);
  });
  it('is nothing for a good scan', () => {
    expect(notesOf({ modality: 'CT', units: 'HU', quality: { gate: 'good' } }, correctionName)).toEqual([]);
  });
});

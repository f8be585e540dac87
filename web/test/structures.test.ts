import { describe, expect, it } from 'vitest';
import type { Artefact, ArtefactMeta, GridMeta } from '../src/api/types';
import { alignmentDoubts, alignmentLines } from '../src/case/alignment';
import { foundIn, partName, setsOf, shortName } from '../src/case/groups';
import { alignmentOf, structuresOf, volumesOf } from '../src/case/model';
import { placementOf } from '../src/case/placement';
import { presetFor } from '../src/case/run';
import { marksOf } from '../src/slices/overlay';
import type { Job, JobPreset } from '../src/api/types';

const grid: GridMeta = { dim: [10, 10, 9], spacing_mm: [1, 1, 1], origin_lps: [0, 0, 0], direction: [1, 0, 0, 0, 1, 0, 0, 0, 1] };
let serial = 0;
const artefact = (kind: string, name: string, series: string, meta: ArtefactMeta, made: Partial<Artefact> = {}): Artefact => ({
  id: `id${++serial}`, case_id: 'c', series_id: series, job_id: `job-${name}`, name, kind, sha256: `${serial}`.padStart(64, '0'), bytes: 1,
  media_type: '', meta, superseded: false, created_at: new Date(Date.UTC(2026, 0, 1) + serial * 1000).toISOString(), url: `/b/${serial}`, ...made,
});
const shift = (x: number) => [[1, 0, 0, x], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];

/** A CT and an MR with a spine of `bones` vertebrae in each. */
function twoSpines(bones: number, frames: [string, string] = ['1', '2']): Artefact[] {
  return ['ct', 'mr'].flatMap((series, n) => {
    const volume = artefact('volume', 'volume', series, { grid, modality: series.toUpperCase(), frame_of_reference_uid: frames[n] });
    const view = artefact('volume.view', 'view', series, { grid }, { made_from: [{ name: 'volume', sha256: volume.sha256 }] });
    const segments = Array.from({ length: bones }, (_, i) => [
      { label: i + 1, colour: '#ffffff', state: 'needs review', ...(n ? { name: `Vertebra ${i + 1} of ${bones} (level unconfirmed)`, level: null } : { name: `Vertebra L${i + 1}`, level: `L${i + 1}` }) },
      { label: i + 101, colour: '#00ff00', name: `Disc L${i + 1}-L${i + 2}`, state: 'completed' },
    ]).flat();
    const labels = artefact('segmentation', 'labels', series, { grid, segments, levels: n ? 'unconfirmed' : 'named' },
      { made_from: [{ name: 'volume', sha256: volume.sha256 }] });
    const mesh = artefact('mesh.view', 'a.lod0.glb', series, { segment: 1, lod: 0 }, { made_from: [{ name: 'labels', sha256: labels.sha256 }] });
    return [volume, view, labels, mesh];
  });
}

const transform = (list: Artefact[], meta: ArtefactMeta): Artefact => {
  const [ct, mr] = list.filter((a) => a.kind === 'volume');
  return artefact('transform', 'transform', 'ct', { matrix: shift(5), inverse: shift(-5), ...meta },
    { made_from: [{ name: 'fixed', sha256: ct.sha256 }, { name: 'moving', sha256: mr.sha256 }] });
};

describe('structures in sets', () => {
  it('come by segmentation, those of the shown scan first, and long ones by kind of anatomy', () => {
    const list = twoSpines(8);
    const volumes = volumesOf(list);
    const mr = volumes.find((v) => v.meta.modality === 'MR') ?? null;
    const sets = setsOf(structuresOf(list), volumes, mr, () => 'segment.spine');
    expect(sets.map((s) => [s.title, s.scan?.meta.modality, s.review, s.total])).toEqual([['Spine', 'MR', 8, 16], ['Spine', 'CT', 8, 16]]);
    expect(sets[0].groups.map((g) => [g.title, g.structures.length])).toEqual([['Vertebrae', 8], ['Discs', 8]]);
    expect(setsOf(structuresOf(twoSpines(2)), volumes, mr, () => undefined)[0].groups.map((g) => g.title)).toEqual(['']);
    expect(shortName('Vertebra 3 of 9 (level unconfirmed)')).toBe('Vertebra 3 of 9');
  });

  it('of an earlier job of the same kind hang below those that count now', () => {
    const list = twoSpines(3);
    const [volume] = list;
    const recount = artefact('segmentation', 'labels', 'ct', { grid, segments: [
      { label: 1, colour: '#ffffff', name: 'Vertebra L2', level: 'L2' }, { label: 2, colour: '#ffffff', name: 'Vertebra L3', level: 'L3' },
    ] }, { made_from: [{ name: 'volume', sha256: volume.sha256 }], created_at: '2026-01-01T09:00:00Z' });
    const mesh = artefact('mesh.view', 'a.lod0.glb', 'ct', { segment: 1, lod: 0 }, { made_from: [{ name: 'labels', sha256: recount.sha256 }] });
    const all = [...list, recount];
    const volumes = volumesOf(all);
    const sets = (kind: string | undefined) => setsOf(structuresOf(all), volumes, volumes[0], () => kind)
      .map((s) => [s.scan?.meta.modality, s.total, s.made !== '', s.earlier.map((e) => e.total)]);
    expect(sets('segment.spine')).toEqual([['CT', 2, true, [6]], ['MR', 6, false, []]]);
    expect(sets(undefined)).toEqual([['CT', 2, true, []], ['CT', 6, true, []], ['MR', 6, false, []]]); // nobody knows that these are one kind
    // They count otherwise, so that no name occurs twice: still only the later one is seen at once, as soon as it has a surface.
    const covered = (made: Artefact[]) => structuresOf(made, () => 'segment.spine').filter((s) => s.covers && s.series === 'ct').length;
    expect([covered(all), covered([...all, mesh])]).toEqual([0, 6]);
  });

  it('of one threshold are replaced, and of another kept beside it', () => {
    const list = twoSpines(1).slice(0, 2);
    const bone = (threshold_hu: number) => artefact('segmentation', 'labels', 'ct', { grid, segments: [{ label: 1, colour: '#ffffff', name: 'Bone', threshold_hu }] },
      { made_from: [{ name: 'volume', sha256: list[0].sha256 }] });
    const all = [...list, bone(250), bone(320), bone(250)];
    const sets = setsOf(structuresOf(all), volumesOf(all), volumesOf(all)[0], () => 'segment.bone');
    expect(sets.map((s) => [s.title, s.made !== '', s.earlier.length])).toEqual([['Bone from 250 HU', true, 1], ['Bone from 320 HU', false, 0]]);
  });

  it('belong to the scan they were found in, and not to one that was resampled onto it', () => {
    const list = twoSpines(1);
    const warped = artefact('volume', 'warped', 'ct', { grid, modality: 'MR', of: 'moving' });
    const all = [...list, warped, artefact('volume.view', 'view', 'ct', { grid }, { made_from: [{ name: 'volume', sha256: warped.sha256 }] })];
    const volumes = volumesOf(all);
    const labels = all.filter((a) => a.kind === 'segmentation');
    expect(labels.map((made) => volumes.map((v) => foundIn(made, v, volumes)))).toEqual([[true, false, false], [false, true, false]]);
  });

  it('are called by both names in a comparison where these differ', () => {
    const called = (name: string) => [{ label: 1, name, colour: '#ffffff' }];
    expect(partName(1, called('Bone'), called('Bone'))).toBe('Bone');
    expect(partName(1, called('Skull'), called('Bone'))).toBe('Skull / Bone');
    expect(partName(1, [], called('Vertebra 3 of 9 (level unconfirmed)'))).toBe('Vertebra 3 of 9');
    expect(partName(7)).toBe('Label 7');
  });

  it('are marked with their level, and with a question where it is not confirmed', () => {
    expect(structuresOf(twoSpines(2)).map((s) => s.mark)).toEqual(['L1', '', 'L2', '', '1?', '', '2?', '']);
  });
});

describe('the 3D scene', () => {
  it('carries what was found in an aligned scan to its place in the shown one', () => {
    const list = twoSpines(2);
    const aligned = [...list, transform(list, { model: 'rigid' })];
    const volumes = volumesOf(aligned);
    const [ct, mr] = ['CT', 'MR'].map((m) => volumes.find((v) => v.meta.modality === m) ?? null);
    const x = (shown: typeof ct) => [...placementOf(structuresOf(aligned), shown, volumes, aligned).places.values()].map((place) => place[0][3]);
    expect(x(ct)).toEqual([0, -5]);
    expect(x(mr)).toEqual([5, 0]);
  });

  it('takes an alignment before a common frame of reference, as the fused view does', () => {
    const x = (list: Artefact[]) => {
      const volumes = volumesOf(list);
      const ct = volumes.find((v) => v.meta.modality === 'CT') ?? null;
      return [...placementOf(structuresOf(list), ct, volumes, list).places.values()].map((place) => place[0][3]);
    };
    const list = twoSpines(2, ['1', '1']);
    expect(x(list)).toEqual([0, 0]);
    expect(x([...list, transform(list, { model: 'rigid' })])).toEqual([0, -5]);
  });

  it('never shows the surfaces of two scans that nothing ties together', () => {
    const list = twoSpines(2);
    const volumes = volumesOf(list);
    const ct = volumes.find((v) => v.meta.modality === 'CT') ?? null;
    const placement = placementOf(structuresOf(list), ct, volumes, list);
    expect([placement.places.size, placement.apart, placement.left]).toEqual([1, false, 1]);
    const without = list.filter((a) => a.kind !== 'mesh.view' || a.series_id === 'mr');
    const other = placementOf(structuresOf(without), ct, volumes, without);
    expect([other.places.size, other.apart, other.left]).toEqual([1, true, 0]);
  });
});

describe('an alignment', () => {
  const quality = { nmi: 1.2, overlap: 0.9, inverse_mm: 0.5, moved_mm: 12, rotation_deg: 4 };
  const deformation = {
    jacobian_least: -0.1, jacobian_most: 1.4, folds: true, inverse_mean_mm: 0.1, inverse_max_mm: 0.4, ways_mean_mm: 1.6, moved_mean_mm: 2, moved_max_mm: 6,
  };

  it('says its figures, and which of them are not as they should be', () => {
    const list = twoSpines(1);
    const odd = (meta: ArtefactMeta) => alignmentLines(transform(list, meta)).filter((line) => line.odd).map((line) => line.name);
    expect(odd({ model: 'rigid', quality })).toEqual([]);
    expect(odd({ model: 'rigid', quality: { ...quality, inverse_mm: 1.4, overlap: 0.2 } })).toEqual(['In common', 'There and back']);
    expect(odd({ model: 'rigid', quality: { ...quality, inverse_mm: null } })).toEqual(['There and back']);
    expect(odd({ model: 'deformable', quality, deformation })).toEqual(['Bending, both ways', 'Volume change']);
    const change = alignmentLines(transform(list, { model: 'deformable', quality, deformation })).find((line) => line.name === 'Volume change');
    expect(change?.value).toBe('×−0.10 to ×1.40');
  });

  it('is found for the scans it was made of, and for the image it resampled', () => {
    const list = twoSpines(1);
    const rigid = transform(list, { model: 'rigid' });
    const bent = { ...transform(list, { model: 'deformable' }), job_id: 'bending' };
    const warped = artefact('volume', 'warped', 'ct', { grid, modality: 'MR', of: 'moving', frame_of_reference_uid: '1' }, { job_id: 'bending' });
    const view = artefact('volume.view', 'view', 'ct', { grid }, { made_from: [{ name: 'volume', sha256: warped.sha256 }] });
    const all = [...list, rigid, bent, warped, view];
    const volumes = volumesOf(all);
    const [ct, mr, of] = [volumes.find((v) => v.meta.modality === 'CT'), volumes.find((v) => v.meta.modality === 'MR' && !v.meta.of), volumes.find((v) => v.meta.of)];
    if (!ct || !mr || !of) throw new Error('three volumes');
    expect(alignmentOf(ct, mr, all)?.id).toBe(rigid.id);
    expect(alignmentOf(ct, of, all)?.id).toBe(bent.id);
    expect(of.name).toMatch(/, aligned and bent$/);
    expect(alignmentOf(ct, mr, list)).toBeNull();
  });

  it('repeats the warnings of its job in plain words', () => {
    const made = transform(twoSpines(1), { model: 'deformable' });
    const job = { id: made.job_id, report: { warnings: [{ code: 'ways_differ', detail: 'both directions disagree by 1.6 mm on average' }] } } as unknown as Job;
    expect(alignmentDoubts(made, [job])).toEqual([
      'Bending A to B and B to A gives different results: do not rely on it where the pictures do not agree. Both directions disagree by 1.6 mm on average.',
    ]);
    expect(alignmentDoubts(made, [])).toEqual([]);
  });
});

describe('marks in the slices', () => {
  it('stand in the thickest part of their label', () => {
    // A vertebra: a body of 5 by 5 and, apart from it, a longer but thinner process.
    const [w, h] = [20, 7];
    const slice = new Uint8Array(w * h);
    for (let y = 1; y < 6; y++) for (let x = 1; x < 6; x++) slice[y * w + x] = 2;
    for (let x = 8; x < 19; x++) for (let y = 3; y < 5; y++) slice[y * w + x] = 2;
    const style = { colour: '#ffffff', opacity: 1, name: 'Vertebra L2', mark: 'L2' };
    expect(marksOf(slice, [w, h, 1], 2, 0, new Map([[2, style]]))).toEqual([{ text: 'L2', at: [3, 3], side: 5 }]);
    expect(marksOf(slice, [w, h, 1], 2, 0, new Map([[2, { ...style, mark: '' }], [3, style]]))).toEqual([]);
  });
});

describe('the preset a form starts with', () => {
  const presets = ['jaw', 'spine_ct', 'spine_mr', 'leg'].map((id) => ({ id }) as JobPreset);
  it('suits the part of the body and the kind of scan', () => {
    expect(presetFor(presets, 'LSPINE ', 'MR')?.id).toBe('spine_mr');
    expect(presetFor(presets, ' Spine 120 kV', 'CT')?.id).toBe('spine_ct');
    expect(presetFor(presets, ' Head 1.5 mm bone', 'CT')?.id).toBe('jaw');
    expect(presetFor(presets, 'KNEE', 'CT')).toBeUndefined();
  });

  it('goes by whole words', () => {
    const id = (words: string) => presetFor(presets, words, 'CT')?.id;
    for (const words of ['Legend 0.6', 'Dose legend', 'Surface rendering', 'Overhead', 'Accident', 'Identical', 'Headrest']) expect(id(words), words).toBeUndefined();
    for (const words of ['LEG', 'CT_LEG_1.0', 'both legs', 'Fibula left', 'TIBIA FIBULA', 'calf']) expect(id(words), words).toBe('leg');
    for (const words of ['HEADNECK', 'Head0.6', 'CT-Jaw', 'Mandible', 'Maxillofacial', 'midfacial', 'Dental', 'SKULL']) expect(id(words), words).toBe('jaw');
    for (const words of ['CSPINE', 'TLSPINE', 'Wholespine', 'spinal canal', 'C-Spine', 'Vertebral column']) expect(id(words), words).toBe('spine_ct');
  });
});

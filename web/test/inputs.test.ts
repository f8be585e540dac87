import { describe, expect, it } from 'vitest';
import type { Artefact, ArtefactMeta, GridMeta, Job, JobInput, Series } from '../src/api/types';
import { inputsWords, type Known } from '../src/case/inputs';
import { volumesOf } from '../src/case/model';

const grid: GridMeta = { dim: [512, 512, 300], spacing_mm: [1, 1, 1], origin_lps: [0, 0, 0], direction: [1, 0, 0, 0, 1, 0, 0, 0, 1] };
const artefact = (id: string, kind: string, series: string, meta: ArtefactMeta, from: string[] = []): Artefact => ({
  id, case_id: 'c', series_id: series, job_id: `job-${id}`, name: id, kind, sha256: id.padStart(64, '0'), bytes: 1, media_type: '', meta,
  superseded: false, created_at: '2026-01-01T00:00:00Z', url: `/b/${id}`, made_from: from.map((sha) => ({ name: 'volume', sha256: sha.padStart(64, '0') })),
});
const artefacts = [
  artefact('1', 'volume', 'ct', { grid, modality: 'CT', series_description: 'Head 0.6 mm' }),
  artefact('2', 'volume.view', 'ct', { grid }, ['1']),
  artefact('3', 'segmentation', 'ct', { grid, segments: [{ label: 1, name: 'Bone', colour: '#ffffff' }] }, ['1']),
];
const series = [
  { id: 'ct', modality: 'CT', description: 'Head 0.6 mm' }, { id: 'mr', modality: 'MR', description: 'T2 sag' },
] as Series[];
const jobs = [{ id: 'job-3', kind: 'segment.bone' }] as Job[];
const known: Known = { artefacts, volumes: volumesOf(artefacts), series, jobs };
const input = (change: Partial<JobInput>): JobInput => ({
  role: 'volume', kind: 'volume', artefact_id: '1', series_id: 'ct', modality: 'CT', dim: [512, 512, 300], count: 1, ...change,
});
const words = (inputs: JobInput[], of: Known = known) => inputsWords({ inputs } as Job, of);

describe('what a job works on', () => {
  it('is said by the names people know the scans by, with their size', () => {
    expect(words([input({})])).toBe('CT · Head 0.6 mm, 512×512×300');
    const moving = input({ role: 'moving', artefact_id: 'not made yet', series_id: 'mr', modality: 'MR', dim: [320, 320, 90] });
    expect(words([input({ role: 'fixed' }), moving])).toBe('CT · Head 0.6 mm, 512×512×300 and MR · T2 sag, 320×320×90');
    expect(words([input({ kind: 'instance', artefact_id: null, dim: null, count: 300 })])).toBe('CT · Head 0.6 mm, 300 images');
  });

  it('names the scan of a segmentation once', () => {
    const labels = input({ role: 'labels', kind: 'segmentation', artefact_id: '3', modality: '' });
    expect(words([labels, input({})])).toMatch(/^Bone of \d.* in CT · Head 0.6 mm, 512×512×300$/);
  });

  it('is still said when the artefact was replaced or the case is not open', () => {
    expect(words([input({ artefact_id: 'old' })])).toBe('CT · Head 0.6 mm, 512×512×300');
    expect(words([input({ kind: null, artefact_id: null, series_id: null, dim: null, modality: '' })])).toBe('a scan');
    const nothing: Known = { artefacts: [], volumes: [], series: [], jobs: [] };
    expect(words([input({})], nothing)).toBe('CT, 512×512×300');
    expect(words([input({ kind: 'segmentation', dim: null })], nothing)).toBe('structures in CT');
    expect(words([])).toBe('');
  });
});

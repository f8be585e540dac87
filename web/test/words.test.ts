import { describe, expect, it } from 'vitest';
import { problemOf } from '../src/api/client';
import type { Job, UploadAnswer } from '../src/api/types';
import { paintLabels } from '../src/slices/overlay';
import { autoWindow, dragWindow, firstWindow, presetsFor, rangeOf } from '../src/slices/presets';
import { openWords } from '../src/case/jobs';
import { ago, bytes, dicomDate, duration, failureTitle, figure, jobFailure, personName } from '../src/ui/format';
import { mostBytes, mostFiles, plan } from '../src/upload/plan';
import { addAnswer, type UploadState } from '../src/upload/uploader';
import type { Dropped } from '../src/upload/walk';

describe('names, dates and figures', () => {
  it('read a DICOM person name, also with groups and without a name', () => {
    expect(personName('MÜLLER^KARL^^DR')).toBe('MÜLLER, DR KARL');
    expect(personName('Yamada^Tarou=山田^太郎=やまだ^たろう')).toBe('Yamada, Tarou');
    expect(personName('')).toBe('No name');
    expect(personName('^Jane')).toBe('Jane');
  });
  it('write dates, sizes and signs', () => {
    expect(dicomDate('19610314')).toBe('1961-03-14');
    expect(dicomDate('1961')).toBe('1961');
    expect(bytes(1536)).toBe('1.5 KiB');
    expect(bytes(900)).toBe('900 B');
    expect(figure(-69, 1)).toBe('−69.0');
    expect(ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:05:00Z'))).toBe('5m ago');
  });
  it('say why a job did not finish', () => {
    const job = { error: { code: 'no_bone', detail: '12 voxels above 250 HU.' } } as Job;
    expect(jobFailure(job)).toBe('No bone was found in this scan. 12 voxels above 250 HU.');
    const twice = { error: { code: 'no_bone', detail: 'no bone was found: 0.30 ml lie at or above 250 HU' } } as Job;
    expect([failureTitle(twice), jobFailure(twice)]).toEqual(['No bone was found in this scan.', 'No bone was found in this scan. 0.30 ml lie at or above 250 HU.']);
    expect(jobFailure({ error: { code: 'grid', detail: 'the grids differ' } } as Job)).toBe('The grids differ.');
    expect(jobFailure({ error: { code: 'odd', detail: '' } } as Job)).toBe('odd');
    expect(jobFailure({ error: null } as Job)).toBe('');
  });
});

describe('a job that is not finished', () => {
  const job = { state: 'running', progress: 0.42, stage: 'read_parts', attempts: 1, started_at: '2026-01-01T00:00:00Z' } as Job;
  const now = Date.parse('2026-01-01T00:02:05Z');
  it('says how far it is, at what, and since when', () => {
    expect(openWords(job, 0, now)).toBe('42 % · read parts · 2 min 5 s');
    expect(openWords({ ...job, cancel_requested: true }, 0, now)).toBe('Stopping…');
  });
  it('says what it waits for', () => {
    expect(openWords({ ...job, state: 'queued', attempts: 0 }, 2, now)).toBe('2 jobs of this case before it');
    expect(openWords({ ...job, state: 'queued', attempts: 0 }, 0, now)).toMatch(/worker is free/);
    expect(openWords({ ...job, state: 'queued', attempts: 1 }, 2, now)).toMatch(/by itself/);
  });
  it('writes lengths of time', () => {
    expect([0, 59400, 61000, 3780000, -5, NaN].map(duration)).toEqual(['0 s', '59 s', '1 min 1 s', '1 h 3 min', '0 s', '']);
  });
});

describe('problems', () => {
  it('come out of problem documents and out of anything else', () => {
    expect(problemOf(429, '{"code":"account_locked","detail":"Locked."}', '30')).toMatchObject({ code: 'account_locked', retryAfter: 30 });
    expect(problemOf(502, '<html>', null)).toMatchObject({ code: 'http_502', status: 502, retryAfter: null });
    expect(problemOf(400, 'null', 'soon')).toMatchObject({ code: 'http_400', retryAfter: null });
  });
});

describe('windows', () => {
  it('offer Hounsfield presets only where values are in HU', () => {
    expect(presetsFor({ units: 'HU', modality: 'CT' }).map((p) => p.id)).toContain('bone');
    expect(presetsFor({ units: '1', modality: 'MR', value_range: [0, 800] }).map((p) => p.id)).toEqual(['auto']);
    expect(firstWindow({ units: '1', modality: 'MR', value_range: [0, 800] })).toEqual({ centre: 400, width: 800 });
  });
  it('take the scanner at its word only when the word is sound', () => {
    expect(autoWindow({ window: { centre: 300, width: 1500 } })).toEqual({ centre: 300, width: 1500 });
    expect(autoWindow({ window: { centre: 300, width: 0 }, value_range: [5, 5] }).width).toBeGreaterThan(0);
  });
  it('never drag the width to nothing', () => {
    expect(dragWindow({ centre: 0, width: 10 }, -10000, 0, 2000).width).toBeGreaterThan(0);
    expect(rangeOf({ centre: 50, width: 400 })).toEqual([-150, 250]);
  });
});

const file = (path: string, size: number): Dropped => ({ path, file: { size, name: path } as File });
const fresh: UploadState = {
  running: true, cancelled: false, files: 0, bytes: 0, sent: 0, reading: false,
  counts: { stored: 0, duplicate: 0, conflict: 0, set_aside: 0, refused: 0 }, notes: [], cases: [], failed: '',
};

describe('uploads', () => {
  it('send zips alone and files in batches that are neither long nor heavy', () => {
    const many = Array.from({ length: mostFiles + 1 }, (_, i) => file(`a/${i}`, 1000));
    expect(plan([...many, file('b.ZIP', 5), file('c', 5)]).map((b) => b.files.length)).toEqual([mostFiles, 1, 2]);
    expect(plan([file('a', mostBytes), file('b', 1), file('c', mostBytes)]).map((b) => b.files.length)).toEqual([1, 1, 1]);
    expect(plan([file('huge', mostBytes * 9)])).toHaveLength(1);
    expect(plan([])).toEqual([]);
  });
  it('add answers up and keep the reasons', () => {
    const answer: UploadAnswer = {
      accepted: 2, duplicate: 0, conflict: 0, refused: 1, cases: ['x'],
      instances: [
        { file: 'a', sop_uid: '1', status: 'stored' }, { file: 'b', sop_uid: '2', status: 'set_aside', reason: 'localizer' },
        { file: 'c', sop_uid: '', status: 'refused', reason: 'not_dicom' },
      ],
    };
    const state = addAnswer(addAnswer(fresh, answer), answer);
    expect(state.counts).toEqual({ stored: 2, duplicate: 0, conflict: 0, set_aside: 2, refused: 2 });
    expect(state.notes).toHaveLength(4);
    expect(state.cases).toEqual(['x']);
    expect(fresh.notes).toHaveLength(0);
  });
});

describe('the label overlay', () => {
  const labels = Uint8Array.from([0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1]);
  const styles = new Map([[1, { colour: '#102030', opacity: 1, name: 'Vertebra L2', mark: 'L2' }]]);

  it('draws the inside at the overlay opacity and the outline stronger', () => {
    const out = new Uint8ClampedArray(64);
    paintLabels(labels, [4, 4, 1], 2, 0, styles, 0.4, out);
    expect([...out.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    const inside = (2 * 4 + 2) * 4;
    const edge = (1 * 4 + 1) * 4;
    expect([...out.subarray(inside, inside + 4)]).toEqual([16, 32, 48, 102]);
    expect(out[edge + 3]).toBeGreaterThan(out[inside + 3]);
  });
  it('draws nothing for a structure that is hidden', () => {
    const out = new Uint8ClampedArray(64).fill(9);
    paintLabels(labels, [4, 4, 1], 2, 0, new Map(), 0.4, out);
    expect(out.every((v) => v === 0)).toBe(true);
  });
  it('cuts along any axis', () => {
    const box = new Uint8Array(2 * 3 * 4);
    box[1 + 2 * (2 + 3 * 3)] = 1;
    const out = new Uint8ClampedArray(3 * 4 * 4);
    paintLabels(box, [2, 3, 4], 0, 1, styles, 0.5, out);
    expect(out.findIndex((v) => v > 0)).toBe((3 * 3 + 2) * 4);
  });
});

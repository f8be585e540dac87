import { describe, expect, it } from 'vitest';
import { parseEvent, type Heard } from '../src/api/events';
import { reduceCases, mergeJobs, newlyEnded, reduceJobs } from '../src/api/reduce';
import type { CaseItem, Job } from '../src/api/types';

const item = (id: string): CaseItem => ({
  id, number: 1, title: '', state: 'receiving', patient: { id: '', issuer: '', name: '', birth_date: '', sex: '' },
  created_at: '', updated_at: '', revision: 1, counts: { studies: 0, series: 0, instances: 0, volumes: 0, segmentations: 0, meshes: 0 },
  modalities: [], progress: { running: 0, queued: 1, failed: 0, fraction: 0 },
});
const job = (id: string): Job => ({
  id, case_id: 'a', kind: 'import', version: 1, state: 'queued', priority: 0, attempts: 0, max_attempts: 5, progress: 0, stage: '',
  inputs: [], error: null, created_at: '', started_at: null, finished_at: null, acknowledged_at: null,
});

describe('events on the work list', () => {
  it('move the state at once and ask for the row', () => {
    const before = [item('a'), item('b')];
    const { state, stale } = reduceCases(before, { kind: 'case.changed', case_id: 'a', state: 'ready' });
    expect(state[0].state).toBe('ready');
    expect(state[1]).toBe(before[1]);
    expect(before[0].state).toBe('receiving');
    expect(stale).toEqual(['a']);
  });
  it('do not take a state that is none', () => {
    const before = [item('a')];
    expect(reduceCases(before, { kind: 'case.changed', case_id: 'a', state: 'on fire' }).state).toBe(before);
  });
  it('ask for a case that is not in the list', () => {
    expect(reduceCases([item('a')], { kind: 'case.created', case_id: 'z' }).stale).toEqual(['z']);
  });
  it('ask for everything after a gap', () => {
    expect(reduceCases([item('a')], { kind: 'resync' }).stale).toEqual(['*']);
  });
});

describe('jobs that have ended', () => {
  const over = (id: string, at: string): Job => ({ ...job(id), state: 'failed', finished_at: at });
  it('are no news when the page is opened', () => {
    expect(newlyEnded(null, [over('1', 'a')]).ended).toEqual([]);
  });
  it('are told once, also when they began and ended between two looks or ended anew', () => {
    const first = newlyEnded(null, [over('1', 'a'), job('2')]);
    const second = newlyEnded(first.told, [over('1', 'a'), over('2', 'b'), over('3', 'c')]);
    expect(second.ended.map((j) => j.id)).toEqual(['2', '3']);
    expect(newlyEnded(second.told, [over('1', 'a'), over('2', 'b'), over('3', 'd')]).ended.map((j) => j.id)).toEqual(['3']);
  });
});

describe('events on jobs', () => {
  it('move progress and stage without reading again', () => {
    const event: Heard = { kind: 'job.changed', case_id: 'a', job_id: '1', state: 'running', progress: 0.5, stage: 'decode' };
    const { state, stale } = reduceJobs([{ ...job('1'), state: 'running' }], event);
    expect(state[0]).toMatchObject({ state: 'running', progress: 0.5, stage: 'decode' });
    expect(stale).toBe(false);
  });
  it('read again when a job started or ended, since its times and the reason are in the row', () => {
    expect(reduceJobs([{ ...job('1'), state: 'queued' }], { kind: 'job.changed', case_id: 'a', job_id: '1', state: 'running' }).stale).toBe(true);
    const event: Heard = { kind: 'job.changed', case_id: 'a', job_id: '1', state: 'dead' };
    expect(reduceJobs([job('1')], event)).toMatchObject({ state: [{ state: 'dead' }], stale: true });
  });
  it('read again when somebody dismissed a failure, or tried it again', () => {
    const failed: Job = { ...job('1'), state: 'failed' };
    const event = (acknowledged: boolean): Heard => ({ kind: 'job.changed', case_id: 'a', job_id: '1', state: 'failed', acknowledged });
    expect(reduceJobs([failed], event(true)).stale).toBe(true);
    expect(reduceJobs([failed], event(false)).stale).toBe(false);
    expect(reduceJobs([{ ...failed, acknowledged_at: '2026-11-21T07:00:00.000Z' }], event(false)).stale).toBe(true);
  });
  it('are not undone by an answer that they overtook', () => {
    const running = { ...job('1'), state: 'running' as const, progress: 0.2, stage: 'register' };
    expect(mergeJobs([running], [{ ...running, progress: 0, stage: '' }])).toEqual([running]);
    expect(mergeJobs([running], [{ ...running, progress: 0, stage: '', attempts: running.attempts + 1 }])[0].progress).toBe(0);
    expect(mergeJobs([running], [{ ...running, state: 'failed', progress: 0 }])[0]).toMatchObject({ state: 'failed', progress: 0 });
    expect(mergeJobs([], [running])).toEqual([running]);
  });
  it('read again for a job that is new, and leave other events alone', () => {
    expect(reduceJobs([job('1')], { kind: 'job.changed', case_id: 'a', job_id: '2', state: 'queued' }).stale).toBe(true);
    expect(reduceJobs([job('1')], { kind: 'artefact.made', case_id: 'a' }).stale).toBe(false);
  });
});

describe('what comes down the stream', () => {
  it('is dropped when it is not an object with a case', () => {
    for (const data of ['', 'null', '7', '{}', '{"case_id":3}', '{"case_id":']) expect(parseEvent('case.changed', data)).toBeNull();
  });
  it('cannot change its own kind', () => {
    expect(parseEvent('case.changed', '{"case_id":"a","kind":"import"}')).toMatchObject({ kind: 'case.changed' });
  });
});

// What an event does to what is on the screen. Pure: the same state and event give the same new state. Where an event
// does not carry enough (a new case, an artefact's meta) the answer says what must be read again.
import type { Heard } from './events';
import type { CaseItem, CaseState, Job, JobState } from './types';

export interface Reduced<T> {
  state: T;
  /** Case ids whose row must be read again; '*' means everything. */
  stale: string[];
}

const jobStates: readonly JobState[] = ['queued', 'running', 'done', 'failed', 'dead', 'cancelled'];
const caseStates: readonly CaseState[] = ['receiving', 'processing', 'ready', 'attention', 'archived'];

/** The work list under one event. */
export function reduceCases(cases: CaseItem[], event: Heard): Reduced<CaseItem[]> {
  if (event.kind === 'resync') return { state: cases, stale: ['*'] };
  const at = cases.findIndex((item) => item.id === event.case_id);
  if (event.kind === 'case.created' || at < 0) return { state: cases, stale: [event.case_id] };
  const item = cases[at];
  let next: CaseItem = item;
  if (event.kind === 'case.changed' && caseStates.includes(event['state'] as CaseState)) {
    next = { ...item, state: event['state'] as CaseState };
  } else if (event.kind === 'job.changed' && event['state'] === 'running' && typeof event['progress'] === 'number') {
    next = { ...item, progress: { ...item.progress, running: Math.max(1, item.progress.running) } };
  }
  if (next === item) return { state: cases, stale: [event.case_id] };
  return { state: cases.map((other, i) => (i === at ? next : other)), stale: [event.case_id] };
}

/**
 * The list as the server read it, under what events said meanwhile: progress only grows, and an answer may be older than the
 * events that overtook it.
 */
export function mergeJobs(known: readonly Job[], fresh: Job[]): Job[] {
  const before = new Map(known.map((job) => [job.id, job]));
  return fresh.map((job) => {
    const old = before.get(job.id);
    const ahead = old?.state === 'running' && job.state === 'running' && old.attempts === job.attempts && old.progress > job.progress;
    return ahead ? { ...job, progress: old.progress, stage: old.stage } : job;
  });
}

/**
 * What has ended since `told` (id → when it ended; null: nothing was read yet, so nothing is news). A job may have begun
 * and ended between two looks, or ended anew after a retry.
 */
export function newlyEnded(told: ReadonlyMap<string, string> | null, jobs: readonly Job[]): { ended: Job[]; told: Map<string, string> } {
  const over = jobs.filter((job) => job.finished_at !== null);
  return {
    ended: told ? over.filter((job) => told.get(job.id) !== job.finished_at) : [],
    told: new Map(over.map((job) => [job.id, job.finished_at ?? ''])),
  };
}

/** The jobs of one case under one event; a job that is not known yet makes the list stale. */
export function reduceJobs(jobs: Job[], event: Heard): { state: Job[]; stale: boolean } {
  if (event.kind === 'resync') return { state: jobs, stale: true };
  if (event.kind !== 'job.changed') return { state: jobs, stale: false };
  const at = jobs.findIndex((job) => job.id === event['job_id']);
  const state = event['state'] as JobState;
  if (at < 0 || !jobStates.includes(state)) return { state: jobs, stale: true };
  const job = jobs[at];
  const moved: Job = {
    ...job,
    state,
    progress: typeof event['progress'] === 'number' ? event['progress'] : job.progress,
    stage: typeof event['stage'] === 'string' ? event['stage'] : job.stage,
  };
  const dismissed = typeof event['acknowledged'] === 'boolean' && event['acknowledged'] !== (job.acknowledged_at !== null);
  // Times and the reason of a failure are in the row only.
  return { state: jobs.map((other, i) => (i === at ? moved : other)), stale: state !== job.state || dismissed };
}

// The jobs of a case: what runs and how far it is, what failed and why, and what is finished.
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Job } from '../api/types';
import { mayDo } from '../app/session';
import { count, dateTime, duration, jobFailure, jobName, jobWarnings, percent } from '../ui/format';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { State } from '../ui/state';
import { clock } from './groups';
import { inputsWords } from './inputs';
import { Section } from './section';
import type { CaseStore } from './store';

export const isOpen = (job: Job): boolean => job.state === 'queued' || job.state === 'running';
export const isBroken = (job: Job): boolean => job.state === 'failed' || job.state === 'dead';
/** A failure that nobody has dismissed. */
const asksAttention = (job: Job): boolean => isBroken(job) && job.acknowledged_at === null;

/** The time, once a second while `on`. */
function useNow(on: boolean): number {
  const now = useSignal(Date.now());
  useEffect(() => {
    if (!on) return undefined;
    const timer = setInterval(() => { now.value = Date.now(); }, 1000);
    return () => clearInterval(timer);
  }, [on]);
  return now.value;
}

/** What a waiting or running job is doing, in one line. */
export function openWords(job: Job, ahead: number, now: number): string {
  if (job.cancel_requested) return 'Stopping…';
  if (job.state === 'queued') {
    if (job.attempts > 0) return 'Tries again by itself in a moment.';
    return ahead > 0 ? `${count(ahead, 'job')} of this case before it` : 'Starts when a worker is free';
  }
  const since = job.started_at ? duration(now - Date.parse(job.started_at)) : '';
  return [percent(job.progress), job.stage.replace(/_/g, ' '), since].filter(Boolean).join(' · ');
}

function Running({ job, ahead }: { job: Job; ahead: number }): JSX.Element {
  const now = useNow(job.state === 'running');
  return (
    <>
      {job.state === 'running' && <Progress value={job.progress} label={jobName(job.kind)} />}
      <p class="job-stage" data-testid="job-stage">{openWords(job, ahead, now)}</p>
      {job.state === 'queued' && job.error && <p class="job-error">{jobFailure(job)}</p>}
    </>
  );
}

function took(job: Job): string {
  return job.state === 'done' && job.started_at && job.finished_at ? duration(Date.parse(job.finished_at) - Date.parse(job.started_at)) : '';
}

/** What follows from other jobs by itself: nobody asks for it with parameters of their own. */
const automatic = new Set(['import', 'index', 'view']);

function JobRow({ job, ahead, store, onRun, onMoved }: { job: Job; ahead: number; store: CaseStore; onRun: (kind: string) => void; onMoved: () => void }): JSX.Element {
  const of = inputsWords(job, store.known.value);
  const name = jobName(job.kind);
  const again = isBroken(job) || job.state === 'cancelled';
  // Two jobs of one kind have the same buttons: the scan tells them apart for who hears them.
  const full = of ? `${name}, of ${of}` : name;
  return (
    <div class="job" data-job={job.kind} data-state={job.state}>
      <div class="job-line">
        <span class="job-name">{name}</span>
        <span class="job-took">{took(job)}</span>
        <State state={job.state} />
      </div>
      {of && <p class="job-of" data-testid="job-of">of {of}</p>}
      {isOpen(job) ? <Running job={job} ahead={ahead} /> : job.finished_at && <p class="job-stage">{clock(job.finished_at)}</p>}
      {isBroken(job) && <p class="job-error">{jobFailure(job)}</p>}
      {job.state === 'done' && jobWarnings(job).map((words) => <p key={words} class="job-warning"><Icon name="warn" size={14} /><span>{words}</span></p>)}
      {job.attempts > 1 && <p class="job-stage">Attempt {job.attempts} of {job.max_attempts}</p>}
      {isOpen(job) && !job.cancel_requested && mayDo('admin', 'technician', 'planner') && (
        <button type="button" class="small" aria-label={`Cancel: ${full}`} onClick={() => void store.command(job, 'cancel').then(onMoved)}>Cancel</button>
      )}
      {job.acknowledged_at && <p class="job-stage">Dismissed {dateTime(job.acknowledged_at)}</p>}
      <div class="job-buttons">
        {again && mayDo('admin', 'technician') && (
          <button type="button" class="small" aria-label={`Try again: ${full}`} onClick={() => void store.command(job, 'retry')}>
            <Icon name="retry" size={14} />Try again</button>
        )}
        {isBroken(job) && !automatic.has(job.kind) && mayDo('admin', 'technician', 'planner') && (
          <button type="button" class="small" aria-label={`Other settings: ${full}`} title="Run it with another scan or other parameters" onClick={() => onRun(job.kind)}>
            Other settings…</button>
        )}
        {asksAttention(job) && mayDo('admin', 'technician', 'planner') && (
          <button type="button" class="small" aria-label={`Dismiss: ${full}`} title="Nothing needs to be done: the case asks for attention no more"
            onClick={() => void store.command(job, 'acknowledge').then(onMoved)}>
            <Icon name="check" size={14} />Dismiss</button>
        )}
      </div>
    </div>
  );
}

export function Jobs({ store, onRun }: { store: CaseStore; onRun: (kind: string) => void }): JSX.Element {
  const jobs = [...store.jobs.value].sort((a, b) => b.created_at.localeCompare(a.created_at));
  const open = jobs.filter(isOpen);
  const broken = jobs.filter(asksAttention);
  const ended = jobs.filter((job) => !isOpen(job) && !asksAttention(job));
  const summary = useRef<HTMLElement>(null);
  // A row that is dismissed or cancelled goes down into the list of those that ended, and the focus would be lost with its button.
  const follow = () => requestAnimationFrame(() => { if (document.activeElement === document.body) summary.current?.focus(); });
  const warned = ended.filter((job) => job.state === 'done' && jobWarnings(job).length > 0).length;
  const aside = [open.length && `${open.length} open`, broken.length && `${broken.length} failed`].filter(Boolean).join(', ');
  const row = (job: Job) => (
    <JobRow key={job.id} job={job} store={store} onRun={onRun} onMoved={follow} ahead={open.filter((other) => other !== job && other.created_at < job.created_at).length} />
  );
  return (
    <Section title="Jobs" aside={aside}>
      {mayDo('admin', 'technician', 'planner') && (
        <button type="button" class="small" onClick={() => onRun('')}><Icon name="plus" size={14} />Run a job</button>
      )}
      {jobs.length === 0 && <p class="side-empty">None yet. Series that arrive are read and made ready to look at by themselves; bone is looked for in those of a CT.</p>}
      <div class="jobs-open">{[...open, ...broken].map(row)}</div>
      {ended.length > 0 && (
        <details class="jobs-ended">
          <summary ref={summary}>{count(ended.length, 'job')} finished{warned > 0 && <span class="job-warning"><Icon name="warn" size={14} />{count(warned, 'warning')}</span>}</summary>
          {ended.map(row)}
        </details>
      )}
    </Section>
  );
}

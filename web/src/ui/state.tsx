// The state of a case or job: a shape and a word, so that it never hangs on colour alone.
import type { JSX } from 'preact';
import type { CaseState, JobState } from '../api/types';

const words: Record<CaseState | JobState, string> = {
  receiving: 'Receiving',
  processing: 'Processing',
  ready: 'Ready',
  attention: 'Needs attention',
  archived: 'Archived',
  queued: 'Waiting',
  running: 'Running',
  done: 'Done',
  failed: 'Failed',
  dead: 'Gave up',
  cancelled: 'Cancelled',
};

const shapes: Record<CaseState | JobState, string> = {
  receiving: 'M7 1.500v8M3.500 6 7 9.500 10.500 6M2 12.500h10',
  processing: 'M7 1.500a5.500 5.500 0 1 1-5.500 5.500',
  ready: 'M2.500 7.500 5.500 10.500 11.500 3.500',
  attention: 'M7 2v6M7 11v.6',
  archived: 'M2 3h10v3H2zM3 6v6h8V6M5.500 8.500h3',
  queued: 'M7 3.500V7l2.500 1.500M7 1.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11z',
  running: 'M7 1.500a5.500 5.500 0 1 1-5.500 5.500',
  done: 'M2.500 7.500 5.500 10.500 11.500 3.500',
  failed: 'M3 3l8 8M11 3l-8 8',
  dead: 'M3 3l8 8M11 3l-8 8',
  cancelled: 'M3 7h8',
};

export function State({ state }: { state: CaseState | JobState }): JSX.Element {
  return (
    <span class={`state state-${state}`}>
      <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true"><path d={shapes[state] ?? ''} /></svg>
      {words[state] ?? state}
    </span>
  );
}

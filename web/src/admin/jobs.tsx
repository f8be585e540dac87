import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { command } from '../api/client';
import { onEvent } from '../api/events';
import type { Job } from '../api/types';
import { inputsWords } from '../case/inputs';
import { dateTime, jobFailure, jobName } from '../ui/format';
import { Icon } from '../ui/icons';
import { useRows, type Rows } from './list';
import { ListError } from './parts';

/** Names of series belong to their case's page; here a kind of scan and its size must do. */
const nothingKnown = { artefacts: [], volumes: [], series: [], jobs: [] };

function JobTable({ rows, title, hint }: { rows: Rows<Job>; title: string; hint: string }): JSX.Element {
  return (
    <section class="admin-section">
      <h2>{title}</h2>
      <p class="admin-lead">{hint}</p>
      <ListError text={rows.error.value} onRetry={() => void rows.reload()} />
      {rows.items.value?.length === 0 && <p class="side-good"><Icon name="check" size={16} />None.</p>}
      {(rows.items.value?.length ?? 0) > 0 && (
        <table class="admin-table">
          <thead><tr><th>Job</th><th>Why</th><th>Tries</th><th>Ended</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
          <tbody>
            {rows.items.value?.map((job) => (
              <tr key={job.id}>
                <td><a href={`/cases/${job.case_id}`}>{jobName(job.kind)}</a>
                  {job.inputs.length > 0 && <div class="muted">of {inputsWords(job, nothingKnown)}</div>}</td>
                <td>{jobFailure(job)} {job.error && <code>{job.error.code}</code>}</td>
                <td>{job.attempts} of {job.max_attempts}</td>
                <td>{dateTime(job.finished_at)}{job.acknowledged_at && <div class="muted">Dismissed {dateTime(job.acknowledged_at)}</div>}</td>
                <td class="actions">
                  <button type="button" class="small" onClick={() => void rows.act(() => command(`/jobs/${job.id}/retry`))}>
                    <Icon name="retry" size={14} />Try again
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

export function DeadJobs(): JSX.Element {
  const dead = useRows<Job>('/jobs?state=dead');
  const failed = useRows<Job>('/jobs?state=failed');
  useEffect(() => onEvent((event) => {
    const state = event.kind === 'job.changed' ? event['state'] : '';
    if (state !== 'dead' && state !== 'failed' && event.kind !== 'resync') return;
    void dead.reload();
    void failed.reload();
  }), []);
  return (
    <>
      <div class="admin-head"><h1>Failed jobs</h1></div>
      <JobTable rows={dead} title="Gave up" hint="Every attempt failed, for a reason that may pass: memory, a lost worker, a full disk." />
      <JobTable rows={failed} title="Cannot succeed" hint="The input itself is the reason; trying again helps only after something changed." />
    </>
  );
}

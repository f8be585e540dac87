// The side panel of a case: volumes, structures, what the signer must know, jobs, and the series that came.
import type { JSX } from 'preact';
import type { CaseDetail } from '../api/types';
import { mayDo } from '../app/session';
import { correctionName, count, dateTime, dicomDate, figure } from '../ui/format';
import { Icon, type IconName } from '../ui/icons';
import { radioKeys, radioStop } from '../ui/radio';
import type { ViewState } from '../slices/state';
import { Comparisons } from './comparisons';
import { FusionPanel } from './fusion';
import { isBroken, Jobs } from './jobs';
import { notesOf, type Note, type ShownVolume } from './model';
import { Section } from './section';
import type { CaseStore } from './store';
import { Structures } from './structures';

function VolumeRow({ volume, chosen, onChoose }: { volume: ShownVolume; chosen: boolean; onChoose: () => void }): JSX.Element {
  const grid = volume.meta.grid;
  const thick = volume.meta.quality?.gate;
  return (
    <button type="button" class="volume-row" role="radio" aria-checked={chosen} tabIndex={radioStop(chosen)} onClick={onChoose}>
      <span class="tag">{volume.meta.modality ?? '?'}</span>
      <span class="volume-name">{volume.name}</span>
      {thick && thick !== 'good' && <span class={`mark-${thick}`}><Icon name="warn" size={15} /><span class="visually-hidden">has a warning</span></span>}
      {grid && (
        <span class="volume-size">
          {grid.dim.join('×')} · {grid.spacing_mm.map((s) => figure(s, 2)).join('×')} mm
        </span>
      )}
    </button>
  );
}

function Volumes({ store }: { store: CaseStore }): JSX.Element {
  const volumes = store.volumes.value;
  return (
    <Section title="Volumes" aside={volumes.length > 1 ? String(volumes.length) : ''}>
      {volumes.length === 0 && (
        <p class="side-empty">{store.jobs.value.some((job) => job.kind === 'import' && isBroken(job))
          ? 'None: what was received could not be read as a scan. Jobs says why.' : 'None yet. A scan appears here when its series has been read.'}</p>
      )}
      <div role="radiogroup" aria-label="Volumes" onKeyDown={radioKeys}>
        {volumes.map((volume) => (
          <VolumeRow key={volume.view.id} volume={volume} chosen={store.volume.value?.view.id === volume.view.id}
            onChoose={() => { store.chosen.value = volume.view.id; }} />
        ))}
      </div>
    </Section>
  );
}

const noteIcons: Record<Note['level'], IconName> = { stop: 'warn', warn: 'warn', info: 'dot' };
const noteWords: Record<Note['level'], string> = { stop: 'Blocks guides', warn: 'Warning', info: 'Recorded' };

function Quality({ volume }: { volume: ShownVolume | null }): JSX.Element | null {
  if (!volume) return null;
  const notes = notesOf(volume.meta, correctionName);
  return (
    <Section title="Scan quality" aside={notes.length === 0 ? '' : String(notes.length)}>
      {notes.length === 0 && <p class="side-good"><Icon name="check" size={16} />Fit for planning: nothing to correct, nothing to warn of.</p>}
      {notes.map((note, i) => (
        <div key={i} class={`note note-${note.level}`}>
          <Icon name={noteIcons[note.level]} size={16} />
          <div><strong>{note.title}</strong><span class="visually-hidden">{noteWords[note.level]}</span><p>{note.detail}</p></div>
        </div>
      ))}
    </Section>
  );
}

function Received({ detail }: { detail: CaseDetail | null }): JSX.Element | null {
  if (!detail) return null;
  return (
    <Section title="Received" aside={count(detail.counts.instances, 'image')} open={false}>
      {detail.studies.map((study) => (
        <div class="study" key={study.id}>
          <p class="study-line">{study.description || 'Study'} <span>{dicomDate(study.date)}</span></p>
          {study.series.map((series) => (
            <p class="series-line" key={series.id}>
              <span class="tag">{series.modality || '?'}</span>
              <span>{series.description || `Series ${series.number ?? ''}`}</span>
              <span class="series-count">{series.instance_count}</span>
            </p>
          ))}
        </div>
      ))}
      <p class="side-empty">Case opened {dateTime(detail.created_at)}</p>
    </Section>
  );
}

function CaseForm({ store }: { store: CaseStore }): JSX.Element | null {
  const detail = store.detail.value;
  if (!detail || !mayDo('admin', 'technician', 'planner')) return null;
  const archived = detail.state === 'archived';
  return (
    <Section title="Case" open={false}>
      <label class="case-title">Title
        <input value={detail.title} maxLength={200} placeholder="What is planned" onChange={(event) => {
          const title = event.currentTarget.value.trim();
          if (title !== detail.title) void store.change({ title });
        }} />
      </label>
      <button type="button" class="small" disabled={!archived && detail.progress.running + detail.progress.queued > 0}
        onClick={() => void store.change({ state: archived ? 'ready' : 'archived' })}>
        {archived ? 'Take out of the archive' : 'Archive this case'}
      </button>
    </Section>
  );
}

/** To the first picture that is on the screen: in a layout of one pane the others are not. */
function skip(): void {
  [...document.querySelectorAll<HTMLElement>('.pane-touch, .scene-host canvas')].find((pane) => pane.getClientRects().length > 0)?.focus();
}

export function Sidebar({ store, state, onRun }: { store: CaseStore; state: ViewState; onRun: (kind: string) => void }): JSX.Element {
  return (
    <aside class="sidebar" aria-label="Case">
      <button type="button" class="skip" onClick={skip}>Skip to the pictures</button>
      <Volumes store={store} />
      <Section title="Fused view" open={store.partners.value.length > 0}><FusionPanel store={store} state={state} /></Section>
      <Jobs store={store} onRun={onRun} />
      <Structures store={store} />
      <Comparisons store={store} />
      <Quality volume={store.volume.value} />
      <Received detail={store.detail.value} />
      <CaseForm store={store} />
    </aside>
  );
}

// The work list: every case of the organisation, live.
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { CaseItem } from '../api/types';
import { navigate } from '../app/router';
import { mayDo } from '../app/session';
import { Shell } from '../app/shell';
import { useShortcuts } from '../app/shortcuts';
import { DropZone, UploadButtons } from '../upload/panel';
import { ago, count, dateTime, dicomDate, personName } from '../ui/format';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { State } from '../ui/state';
import { sayError } from '../ui/toast';
import { sortCases, WorklistStore, type Sort, type SortKey } from './store';
import './worklist.css';

const columns: { key: SortKey; name: string; class: string }[] = [
  { key: 'number', name: 'Case', class: 'c-number' },
  { key: 'patient', name: 'Patient', class: 'c-patient' },
  { key: 'birth', name: 'Born', class: 'c-birth' },
  { key: 'modality', name: 'Modality', class: 'c-modality' },
  { key: 'images', name: 'Images', class: 'c-images' },
  { key: 'state', name: 'State', class: 'c-state' },
  { key: 'updated', name: 'Updated', class: 'c-updated' },
];

const states = [
  ['', 'All states'], ['attention', 'Needs attention'], ['processing', 'Processing'], ['receiving', 'Receiving'],
  ['ready', 'Ready'], ['archived', 'Archived'],
];

function Head({ sort, onSort }: { sort: Sort; onSort: (key: SortKey) => void }): JSX.Element {
  return (
    <thead>
      <tr>
        {columns.map((column) => (
          <th key={column.key} class={column.class} scope="col"
            aria-sort={sort.key === column.key ? (sort.down ? 'descending' : 'ascending') : 'none'}>
            <button type="button" onClick={() => onSort(column.key)}>
              {column.name}
              <span class={`sort${sort.key === column.key ? ' on' : ''}${sort.down ? ' down' : ''}`} aria-hidden="true" />
            </button>
          </th>
        ))}
      </tr>
    </thead>
  );
}

function work(item: CaseItem): string {
  const { running, queued, failed } = item.progress;
  const parts = [running && `${running} running`, queued && `${queued} waiting`, failed && `${failed} failed`];
  return parts.filter(Boolean).join(', ');
}

function Row({ item, selected }: { item: CaseItem; selected: boolean }): JSX.Element {
  const busy = item.progress.running + item.progress.queued > 0;
  return (
    <tr class={selected ? 'selected' : ''} data-case={item.id} onClick={(event) => {
      if (!(event.target as Element).closest('a')) navigate(`/cases/${item.id}`);
    }}>
      <td class="c-number">{item.number}</td>
      <td class="c-patient">
        <a href={`/cases/${item.id}`}>{personName(item.patient.name)}</a>
        <span class="sub">{[item.patient.id, item.title].filter(Boolean).join(' · ')}</span>
      </td>
      <td class="c-birth">{dicomDate(item.patient.birth_date)}{item.patient.sex && <span class="sex">{item.patient.sex}</span>}</td>
      <td class="c-modality">{item.modalities.map((m) => <span class="tag" key={m}>{m}</span>)}</td>
      <td class="c-images">
        {item.counts.instances.toLocaleString('en')}
        <span class="sub">{count(item.counts.series, 'series', 'series')}</span>
      </td>
      <td class="c-state">
        <State state={item.state} />
        {busy && <Progress value={item.progress.fraction} label={`Work on case ${item.number}`} />}
        {!busy && item.progress.failed > 0 && <span class="sub">{work(item)}</span>}
        {busy && <span class="visually-hidden">{work(item)}</span>}
      </td>
      <td class="c-updated" title={dateTime(item.updated_at)}>{ago(item.updated_at)}</td>
    </tr>
  );
}

function Empty({ searching }: { searching: boolean }): JSX.Element {
  if (searching) return <div class="empty"><h2>No case matches</h2><p>Search looks at names, patient IDs, case numbers and titles.</p></div>;
  return (
    <div class="empty">
      <h2>No cases yet</h2>
      {mayDo('admin', 'technician', 'planner')
        ? <p>Drop a study here (a zip, a folder or DICOM files), or send one from the PACS.</p>
        : <p>Cases appear here as soon as studies arrive.</p>}
      {mayDo('admin', 'technician') && <p><a href="/admin/peers">How to point a PACS at Kerf</a></p>}
    </div>
  );
}

function List(): JSX.Element {
  const store = useMemo(() => new WorklistStore(), []);
  const query = useSignal('');
  const state = useSignal('');
  const sort = useSignal<Sort>({ key: 'updated', down: true });
  const at = useSignal(-1);
  const search = useRef<HTMLInputElement>(null);
  const tick = useSignal(0);

  useEffect(() => {
    document.title = 'Work list · Kerf';
    const timer = setInterval(() => { tick.value += 1; }, 30000);
    return () => {
      clearInterval(timer);
      store.close();
    };
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => void store.load(query.value.trim(), state.value), store.loading.peek() ? 0 : 200);
    return () => clearTimeout(timer);
  }, [query.value, state.value]);

  void tick.value;
  const items = sortCases(store.items.value, sort.value);
  const move = (step: number) => {
    at.value = Math.max(0, Math.min(items.length - 1, at.value + step));
    document.querySelector(`tr[data-case="${items[at.value]?.id}"]`)?.scrollIntoView({ block: 'nearest' });
  };
  useShortcuts([
    { keys: ['/'], does: 'Search', group: 'Work list', run: () => search.current?.focus() },
    { keys: ['ArrowDown', 'j'], does: 'Next case', group: 'Work list', run: () => move(1) },
    { keys: ['ArrowUp', 'k'], does: 'Previous case', group: 'Work list', run: () => move(-1) },
    {
      keys: ['Enter'], does: 'Open the case', group: 'Work list',
      run: () => { if (items[at.value]) navigate(`/cases/${items[at.value].id}`); },
    },
  ]);
  const resort = (key: SortKey) => {
    sort.value = { key, down: sort.value.key === key ? !sort.value.down : key === 'updated' || key === 'number' };
  };

  return (
    <main class="worklist">
      <div class="worklist-tools">
        <label class="search">
          <Icon name="search" size={16} />
          <span class="visually-hidden">Search cases</span>
          <input ref={search} type="search" placeholder="Search name, patient ID, case…" value={query.value} spellcheck={false}
            autocomplete="off" maxLength={200}
            onInput={(event) => { query.value = event.currentTarget.value; }} />
        </label>
        <select aria-label="State" value={state.value} onChange={(event) => { state.value = event.currentTarget.value; }}>
          {states.map(([value, name]) => <option key={value} value={value}>{name}</option>)}
        </select>
        <span class="worklist-count" role="status">
          {store.loading.value ? '' : `${count(items.length, 'case')}${store.next.value ? ' and more' : ''}`}
        </span>
        {mayDo('admin', 'technician', 'planner') && <UploadButtons />}
      </div>
      {store.error.value && (
        <div class="notice error" role="alert"><Icon name="warn" /><span>{store.error.value}</span>
          <button type="button" class="small" onClick={() => void store.load(query.value, state.value)}>Try again</button></div>
      )}
      {items.length > 0 ? (
        <table>
          <Head sort={sort.value} onSort={resort} />
          <tbody>{items.map((item, i) => <Row key={item.id} item={item} selected={i === at.value} />)}</tbody>
        </table>
      ) : !store.loading.value && !store.error.value && <Empty searching={query.value !== '' || state.value !== ''} />}
      {store.next.value && (
        <button type="button" class="more" onClick={() => store.more().catch(sayError)}>Show more</button>
      )}
    </main>
  );
}

export function Worklist(): JSX.Element {
  const mayUpload = mayDo('admin', 'technician', 'planner');
  return (
    <Shell bar={<span class="bar-title">Work list</span>}>
      {mayUpload ? <DropZone><List /></DropZone> : <List />}
    </Shell>
  );
}

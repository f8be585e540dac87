// The structures of a case: what each job found, in sets that can be shown, hidden and made see-through at once.
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { Artefact } from '../api/types';
import { bytes, count, figure, percent } from '../ui/format';
import { Icon } from '../ui/icons';
import { foundIn, scanName, setsOf, shortName, type StructureGroup, type StructureSet } from './groups';
import { Levels } from './levels';
import type { Structure } from './model';
import { Section } from './section';
import type { CaseStore } from './store';

function surfaceReport(master: Artefact): string {
  const { meta } = master;
  const parts = [
    meta.triangles !== undefined && count(meta.triangles, 'triangle'),
    meta.closed === true ? 'closed' : meta.closed === false && `open${meta.boundary_reason ? ` (${meta.boundary_reason.replace(/_/g, ' ')})` : ''}`,
    meta.manifold === false && 'not manifold',
    meta.surface_mm2 !== undefined && `${figure(meta.surface_mm2 / 100, 0)} cm²`,
  ];
  return parts.filter(Boolean).join(' · ');
}

function Opacity({ name, value, disabled, onValue }: { name: string; value: number; disabled: boolean; onValue: (value: number) => void }): JSX.Element {
  return (
    <label class="structure-opacity">
      <span>Opacity<span class="visually-hidden"> of {name}</span></span>
      <input type="range" min="0.05" max="1" step="0.05" value={value} disabled={disabled} aria-valuetext={percent(value)}
        onInput={(event) => onValue(Number(event.currentTarget.value))} />
      <output>{percent(value)}</output>
    </label>
  );
}

function More({ structure, store }: { structure: Structure; store: CaseStore }): JSX.Element {
  const look = store.look(structure.key);
  const all = store.structures.value;
  return (
    <>
      <Opacity name={structure.name} value={look.opacity} disabled={!look.visible} onValue={(opacity) => store.setLook([structure.key], { opacity })} />
      <div class="structure-more">
        {all.length > 1 && (
          <button type="button" class="small" onClick={() => {
            store.setLook(all.map((s) => s.key), { visible: false });
            store.setLook([structure.key], { visible: true });
          }}>Show only this</button>
        )}
        {structure.master && <p>{surfaceReport(structure.master)}</p>}
        {structure.files.map((file) => (
          <a key={file.id} href={file.url} download={file.name}>{file.name} <span>{bytes(file.bytes)}</span></a>
        ))}
        {structure.surfaces.length === 0 && <p>No surface yet.</p>}
      </div>
    </>
  );
}

function StructureRow({ structure, store }: { structure: Structure; store: CaseStore }): JSX.Element {
  const look = store.look(structure.key);
  const more = useSignal(false);
  const colour = look.colour ?? structure.colour;
  return (
    <div class={`structure${look.visible ? '' : ' off'}`} data-structure={structure.name}>
      <div class="structure-line">
        <input type="color" value={colour} aria-label={`Colour of ${structure.name}`}
          onInput={(event) => store.setLook([structure.key], { colour: event.currentTarget.value })} />
        <button type="button" class="structure-name" aria-expanded={more.value} title={structure.name} onClick={() => { more.value = !more.value; }}>
          <span>{shortName(structure.called)}</span>
        </button>
        <span class="structure-size">{structure.volumeMl === null ? '' : `${figure(structure.volumeMl, structure.volumeMl < 10 ? 1 : 0)} ml`}</span>
        <button type="button" class="plain" aria-pressed={look.visible} aria-label={`Show ${structure.name}`}
          title={look.visible ? 'Hide' : 'Show'} onClick={() => store.setLook([structure.key], { visible: !look.visible })}>
          <Icon name={look.visible ? 'eye' : 'hidden'} />
        </button>
      </div>
      {(structure.review || structure.confidence !== null) && (
        <p class={structure.review ? 'structure-review' : 'structure-sure'}>
          {structure.review && <><Icon name="warn" size={14} />Needs review</>}
          {structure.confidence !== null && <span>Confidence {percent(structure.confidence)}</span>}
        </p>
      )}
      {more.value && <More structure={structure} store={store} />}
    </div>
  );
}

/** Shows or hides several at once; some of them shown is neither. */
function ShowAll({ name, structures, store }: { name: string; structures: readonly Structure[]; store: CaseStore }): JSX.Element {
  const shown = structures.filter((s) => store.look(s.key).visible).length;
  const all = shown === structures.length;
  return (
    <button type="button" class="plain" aria-pressed={all ? true : shown > 0 ? 'mixed' : false} aria-label={`Show all: ${name}`}
      title={all ? 'Hide all' : shown > 0 ? `Show all: ${shown} of ${structures.length} are shown` : 'Show all'}
      onClick={(event) => {
        event.preventDefault(); // it may stand in a summary, which would fold
        store.setLook(structures.map((s) => s.key), { visible: !all });
      }}>
      <Icon name={shown > 0 ? 'eye' : 'hidden'} />
      {shown > 0 && !all && <i class="some" aria-hidden="true" />}
    </button>
  );
}

function Group({ group, store }: { group: StructureGroup; store: CaseStore }): JSX.Element {
  const rows = group.structures.map((structure) => <StructureRow key={structure.key} structure={structure} store={store} />);
  if (!group.title) return <>{rows}</>;
  const looks = group.structures.map((s) => store.look(s.key));
  const review = group.structures.filter((s) => s.review).length;
  return (
    <details class="structure-group" data-group={group.title}>
      <summary>
        <span class="group-name">{group.title} <span>{group.structures.length}</span></span>
        {review > 0 && <span class="group-review"><Icon name="warn" size={14} />{review}<span class="visually-hidden"> need review</span></span>}
        <ShowAll name={group.title} structures={group.structures} store={store} />
      </summary>
      <Opacity name={group.title} value={Math.max(...looks.map((look) => look.opacity))} disabled={!looks.some((look) => look.visible)}
        onValue={(opacity) => store.setLook(group.structures.map((s) => s.key), { opacity })} />
      {rows}
    </details>
  );
}

/** Of structures that were not found in the shown scan: where they are drawn. */
function Elsewhere({ set, all, store }: { set: StructureSet; all: readonly Structure[]; store: CaseStore }): JSX.Element {
  const second = store.partner.value?.volume;
  const tied = !store.placement.value.apart && all.some((s) => store.placement.value.places.has(s.key));
  const asked = all.some((s) => store.inScene(s.key));
  if (second && foundIn(set.of, second, store.volumes.value)) {
    return (
      <p class="set-note"><Icon name="dot" size={14} />
        <span>From the second scan: drawn on its own slices{asked && tied ? ', and in 3D where the alignment puts it. ' : ', not in 3D. '}
          {!asked && tied && (
            <button type="button" class="linklike" onClick={() => store.setLook(all.filter((s) => !s.covers).map((s) => s.key), { visible: true })}>
              Show in 3D too</button>
          )}</span></p>
    );
  }
  return (
    <p class="set-note"><Icon name="dot" size={14} />
      <span>{tied
        ? 'From another scan: shown in 3D only, where the alignment puts it. '
        : 'From another scan, which no rigid alignment ties to this one: not drawn with it. '}
        <button type="button" class="linklike" onClick={() => { store.chosen.value = set.scan?.view.id ?? null; }}>Show that scan</button></span></p>
  );
}

function Set({ set, store, now = '' }: { set: StructureSet; store: CaseStore; now?: string }): JSX.Element {
  const shown = store.volume.value;
  const elsewhere = set.scan !== null && shown !== null && !foundIn(set.of, shown, store.volumes.value);
  const all = set.groups.flatMap((group) => group.structures);
  const scan = scanName(set.scan) || 'a scan that is not here any more';
  const made = set.made && `made at ${set.made}, ${count(set.total, 'part')}`;
  const about = [!now && (store.volumes.value.length > 1 || elsewhere) ? scan : '', made].filter(Boolean).join(' · ');
  return (
    <section class="structure-set" aria-label={[set.title, scan, made, now && 'superseded'].filter(Boolean).join(', ')}>
      <div class="set-head">
        <div><h3>{set.title}{now && <span class="set-state"> superseded</span>}{set.earlier.length > 0 && <span class="set-state"> current</span>}</h3>
          {about && <p>{about}</p>}</div>
        {set.review > 0 && set.total > 1 && <span class="set-review"><Icon name="warn" size={14} />{set.review} of {set.total} need review</span>}
        {all.length > 1 && <ShowAll name={[set.title, scan, set.made].filter(Boolean).join(', ')} structures={all} store={store} />}
      </div>
      {now ? <p class="set-note"><Icon name="dot" size={14} /><span>The run of {now} counts in its place. Nothing was deleted.</span></p>
        : <Levels of={set.of} store={store} />}
      {elsewhere && <Elsewhere set={set} all={all} store={store} />}
      {set.groups.map((group) => <Group key={group.key} group={group} store={store} />)}
      {set.earlier.length > 0 && (
        <details class="sets-earlier" data-testid="superseded">
          <summary>{count(set.earlier.length, 'earlier run')}, superseded</summary>
          {set.earlier.map((old) => <Set key={old.key} set={old} store={store} now={set.made} />)}
        </details>
      )}
    </section>
  );
}

export function Structures({ store }: { store: CaseStore }): JSX.Element {
  const structures = store.structures.value;
  const sets = setsOf(structures, store.volumes.value, store.volume.value, (artefact) => store.kinds.value.get(artefact.job_id));
  return (
    <Section title="Structures" aside={structures.length > 1 ? String(structures.length) : ''}>
      {structures.length === 0 && <p class="side-empty">None yet. “Run a job” finds bone, jaws and teeth, a spine or a leg; the parts appear here as it finishes.</p>}
      {sets.map((set) => <Set key={set.key} set={set} store={store} />)}
    </Section>
  );
}

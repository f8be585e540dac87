// What comparisons of two segmentations gave: a table, the parts that agree least first.
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { Artefact, LabelScore } from '../api/types';
import { figure } from '../ui/format';
import { Icon } from '../ui/icons';
import { partName, segmentationName } from './groups';
import { segmentsAsNamed } from './level_names';
import { Section } from './section';
import type { CaseStore } from './store';

/** What shows that two drawings of one structure are not the same thing: less than half of them in common. */
const apart = 0.5;
const firstRows = 8;

function Table({ scores, nameOf }: { scores: readonly LabelScore[]; nameOf: (label: number) => string }): JSX.Element {
  const all = useSignal(false);
  const sorted = [...scores].sort((a, b) => a.dice - b.dice);
  const rows = all.value ? sorted : sorted.slice(0, firstRows);
  return (
    <>
      <table class="scores">
        <thead><tr><th scope="col">Part</th><th scope="col">Dice</th><th scope="col"><abbr title="95 % Hausdorff distance">95 % mm</abbr></th></tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.label}>
              <th scope="row">{row.dice < apart && <><Icon name="warn" size={13} /><span class="visually-hidden">Unlike: </span></>}{nameOf(row.label)}
                {row.a_ml === 0 && <span> only in B</span>}{row.b_ml === 0 && <span> only in A</span>}</th>
              <td>{figure(row.dice, 2)}</td><td>{row.hd95_mm === null ? '–' : figure(row.hd95_mm)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {sorted.length > firstRows && (
        <button type="button" class="small" aria-expanded={all.value} onClick={() => { all.value = !all.value; }}>
          {all.value ? 'Show fewer' : `Show all ${sorted.length}`}</button>
      )}
    </>
  );
}

function Comparison({ made, store }: { made: Artefact; store: CaseStore }): JSX.Element {
  const side = (name: string) => {
    const sha = made.made_from?.find((m) => m.name === name)?.sha256;
    return store.artefacts.value.find((a) => a.kind === 'segmentation' && a.sha256 === sha);
  };
  const [a, b] = [side('a'), side('b')];
  const called = (of: Artefact | undefined) => (of ? segmentationName(of, store.volumes.value, store.jobs.value) : 'no longer here');
  const [inA, inB] = [a, b].map((of) => of && segmentsAsNamed(of, store.structures.value));
  const nameOf = (label: number) => partName(label, inA, inB);
  return (
    <div class="comparison" data-testid="comparison">
      <p><strong>A</strong> {called(a)}</p><p><strong>B</strong> {called(b)}</p>
      <Table scores={made.meta.labels ?? []} nameOf={nameOf} />
    </div>
  );
}

export function Comparisons({ store }: { store: CaseStore }): JSX.Element | null {
  const list = store.artefacts.value.filter((a) => a.kind === 'comparison' && !a.superseded)
    .sort((a, b) => b.created_at.localeCompare(a.created_at));
  if (list.length === 0) return null;
  return (
    <Section title="Comparisons" aside={String(list.length)}>
      <p class="side-empty">How well two segmentations agree, the least alike part first. It does not say which of both is right.
        Dice: 1 is the same, 0 nothing in common. 95 % mm: 95 of 100 points of the border lie nearer than this.</p>
      {list.map((made) => <Comparison key={made.id} made={made} store={store} />)}
    </Section>
  );
}

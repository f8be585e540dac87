// Which vertebra is which: what the job says of it, what people say, and the form in which one of them says it.
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { Artefact, LevelReview, LevelStatement } from '../api/types';
import { mayDo, session } from '../app/session';
import { Dialog } from '../ui/dialog';
import { dateTime } from '../ui/format';
import { Icon } from '../ui/icons';
import { reason } from '../ui/toast';
import { shortName } from './groups';
import { choose, levelNames, levelsFault, spanOf, vertebraeOf } from './level_names';
import type { CaseStore } from './store';

function Form({ of, store, onClose }: { of: Artefact; store: CaseStore; onClose: () => void }): JSX.Element {
  const vertebrae = vertebraeOf(of);
  const levels = useSignal<string[]>(vertebrae.map(() => ''));
  const fault = useSignal('');
  const busy = useSignal(false);
  const wrong = levelsFault(levels.value);
  const complete = !wrong && levels.value.every(Boolean);
  const save = async () => {
    busy.value = true;
    try {
      await store.stateLevels(of.id, Object.fromEntries(vertebrae.map((s, i) => [String(s.label), levels.value[i]])));
      onClose();
    } catch (cause) {
      fault.value = reason(cause);
    }
    busy.value = false;
  };
  return (
    <form class="run" onSubmit={(event) => { event.preventDefault(); void save(); }}>
      <p class="run-about">Count in the pictures, from C2 down or from the sacrum up. Choose the level of one vertebra and the others follow;
        change one further down where this patient has one more or less. What you say is kept with your name, and nobody sees it
        before a second person has named them too.</p>
      <div class="levels-list">
        {vertebrae.map((segment, i) => (
          <label class="run-line" key={segment.label}>
            <span>{of.meta.levels === 'named' ? `${i + 1} of ${vertebrae.length}, from the top` : shortName(segment.name)}</span>
            <select value={levels.value[i]} data-testid={`level-${i + 1}`}
              onChange={(event) => { levels.value = choose(levels.value, i, event.currentTarget.value); }}>
              {!levels.value[i] && <option value="">–</option>}
              {levelNames.map((name) => <option key={name} value={name}>{name}</option>)}
            </select>
          </label>
        ))}
      </div>
      {wrong && <p class="run-fault" role="status">{wrong}</p>}
      {fault.value && <p class="run-fault" role="alert">{fault.value}</p>}
      <div class="run-foot">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="submit" class="primary" disabled={busy.value || !complete}>{complete ? `Say ${spanOf(Object.fromEntries(levels.value.entries()))}` : 'Say so'}</button>
      </div>
    </form>
  );
}

const names = (statements: readonly LevelStatement[]): string => statements.map((s) => s.name).join(' and ');

/** What stands, in words: a sign, the words in bold, and the rest. */
function standing(of: Artefact, review: LevelReview | undefined): { sign: 'warn' | 'dot' | 'check'; strong: string; rest: string } {
  const mine = review?.statements.some((s) => s.account_id === session.value?.account.id) ?? false;
  if (review?.state === 'confirmed' && review.levels) {
    const when = review.statements[review.statements.length - 1].stated_at;
    return { sign: 'check', strong: `Levels confirmed: ${spanOf(review.levels)}.`, rest: `${names(review.statements)} named them alike, ${dateTime(when)}.` };
  }
  if (review?.state === 'disputed') {
    const each = review.statements.map((s) => `${s.name}: ${s.levels ? spanOf(s.levels) : '–'}`).join('; ');
    return { sign: 'warn', strong: 'Levels disputed.', rest: `Named differently. ${each}. Count again together, then each says it anew.` };
  }
  const once = review && (mine ? 'You have named them; one more person must, alone.' : `${names(review.statements)} has named them: now you, without seeing how.`);
  if (of.meta.levels === 'named') {
    return { sign: 'dot', strong: '', rest: `Levels named by the job, from ribs and sacrum. ${once ?? 'Nobody has checked them: count them before you rely on them.'}` };
  }
  return { sign: 'warn', strong: 'Levels not confirmed.', rest: `Numbered from the top of the scan. ${once ?? 'Two people must name them, each alone.'}` };
}

export function Levels({ of, store }: { of: Artefact; store: CaseStore }): JSX.Element | null {
  const open = useSignal(false);
  if (!of.meta.levels) return null;
  const review = store.levels.value.get(of.id);
  const { sign, strong, rest } = standing(of, review);
  const mine = review?.statements.some((s) => s.account_id === session.value?.account.id) ?? false;
  return (
    <>
      <p class={`set-note${sign === 'warn' ? ' warn' : sign === 'check' ? ' good' : ''}`} data-testid="levels" data-state={review?.state ?? 'none'}>
        <Icon name={sign} size={14} />
        <span>{strong && <strong>{strong} </strong>}{rest}{' '}
          {mayDo('admin', 'planner', 'surgeon') && (
            <button type="button" class="linklike" onClick={() => { open.value = true; }}>{mine ? 'Say it anew…' : 'Name the levels…'}</button>
          )}</span>
      </p>
      {open.value && (
        <Dialog title="Name the levels" onClose={() => { open.value = false; }}>
          <Form of={of} store={store} onClose={() => { open.value = false; }} />
        </Dialog>
      )}
    </>
  );
}

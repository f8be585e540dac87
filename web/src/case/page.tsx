// A case: three slice panes and the 3D scene in one grid, with the side panel beside them.
import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { mayDo } from '../app/session';
import { Shell } from '../app/shell';
import { useShortcuts, type Shortcut } from '../app/shortcuts';
import { ScenePane } from '../scene/pane';
import type { Scene3D } from '../scene/scene';
import { carriedSide, type Fusion, type Side } from '../slices/fusion';
import type { Gestures } from '../slices/gestures';
import { orientations, type Orientation } from '../slices/geometry';
import { SlicePane } from '../slices/pane';
import { firstWindow, presetsFor } from '../slices/presets';
import { Stage } from '../slices/stage';
import { ViewState } from '../slices/state';
import { dicomDate, jobFailure, percent, personName } from '../ui/format';
import { Icon } from '../ui/icons';
import { State } from '../ui/state';
import './case.css';
import { Display } from './display';
import { flick, nextMode, step as fusionStep, swapScans } from './fusion';
import { scanName } from './groups';
import { isBroken, isOpen } from './jobs';
import { alignmentOf } from './model';
import { RunDialog } from './run';
import { Sidebar } from './sidebar';
import { CaseStore } from './store';
import { Toolbar, tools } from './toolbar';

type PaneId = Orientation | 'scene';
type Layout = 'grid' | PaneId | 'side';

/** Which scans the first panes show in the fused view: nobody should have to remember what a key did. */
function scansShown(fusion: Fusion | null, beside: boolean, first: string, second: string, both: string): string {
  if (!fusion) return '';
  if (beside || fusion.only === 'first') return first;
  return fusion.only === 'second' ? second : both;
}

/** What a pane says of labels that are not of the scan it shows; empty when it draws none. */
function carriedWords(store: CaseStore, state: ViewState, pane: Side): string {
  const side = carriedSide(state.fusion.value, pane);
  const [shown, partner] = [store.volume.value, store.partner.value?.volume];
  if (!side || !shown || !partner || !state.layers.value.some((layer) => layer.side === side && layer.styles.size > 0)) return '';
  const by = alignmentOf(shown, partner, store.artefacts.value) ? 'the alignment' : 'the common frame of reference';
  return `+ labels of ${scanName(side === 'first' ? shown : partner)}, by ${by}`;
}

/** As case.css has it: a phone upright or on its side, or a window that is magnified. */
const phone = matchMedia('(max-width: 720px), (max-height: 480px)');

function CaseBar({ store }: { store: CaseStore }): JSX.Element {
  const detail = store.detail.value;
  if (!detail) return <span class="bar-title">Case</span>;
  const { patient } = detail;
  return (
    <div class="case-bar">
      <a class="plain-link" href="/" aria-label="Back to the work list" title="Work list"><Icon name="back" /></a>
      <span class="case-number">{detail.number}</span>
      <h1>{personName(patient.name)}</h1>
      <span class="case-facts">
        {[patient.id, dicomDate(patient.birth_date), patient.sex, detail.title].filter(Boolean).join(' · ')}
      </span>
      <State state={detail.state} />
    </div>
  );
}

interface Parts {
  store: CaseStore;
  state: ViewState;
  stage: Stage;
}

function useParts(id: string): Parts {
  return useMemo(() => {
    const state = new ViewState();
    return { store: new CaseStore(id), state, stage: new Stage(state) };
  }, []);
}

function EmptyGrid({ store, problem }: { store: CaseStore; problem: string }): JSX.Element | null {
  if (problem) return <div class="panes-empty"><Icon name="warn" size={26} /><p>{problem}</p></div>;
  if (store.error.value) {
    return (
      <div class="panes-empty"><Icon name="warn" size={26} /><p>{store.error.value}</p>
        <button type="button" onClick={() => void store.load()}>Try again</button></div>
    );
  }
  if (!store.detail.value || store.volumes.value.length > 0) return null;
  const working = store.jobs.value.some(isOpen);
  const refused = store.jobs.value.filter((job) => job.kind === 'import' && isBroken(job));
  if (!working && refused.length > 0) {
    return (
      <div class="panes-empty"><Icon name="warn" size={26} />
        <p><strong>No scan could be made of what was received.</strong></p>
        {refused.map((job) => <p key={job.id}>{jobFailure(job)}</p>)}
        <p>Send the series as the scanner made it: all slices, none resampled or left out.</p>
      </div>
    );
  }
  return (
    <div class="panes-empty">
      <p>{working || store.detail.value.state === 'receiving' ? 'The scan is being prepared. It appears here by itself.' : 'There is no volume to show in this case.'}</p>
    </div>
  );
}

function nextVolume(store: CaseStore): void {
  const volumes = store.volumes.value;
  const at = volumes.findIndex((volume) => volume.view.id === store.volume.value?.view.id);
  if (volumes.length > 1) store.chosen.value = volumes[(at + 1) % volumes.length].view.id;
}

function viewerShortcuts({ store, state }: Parts, side: () => Side, reset: () => void): Shortcut[] {
  const presets = ['1', '2', '3', '4', '5', '0'].map((key) => ({
    keys: [key],
    does: ({ 1: 'Bone window', 2: 'Soft tissue window', 3: 'Brain window', 4: 'Lung window', 5: 'Teeth and metal window', 0: 'Automatic window' } as
      Record<string, string>)[key],
    group: 'Windows',
    run: () => {
      const of = state.windowSide(side());
      const meta = (of === 'second' ? store.partner.value?.volume : store.volume.value)?.meta;
      const preset = meta && presetsFor(meta).find((p) => p.key === key);
      if (preset) state.setWindow(of, { centre: preset.centre, width: preset.width });
    },
  }));
  const step = (by: number) => { state.overlayOpacity.value = Math.min(1, Math.max(0, Math.round((state.overlayOpacity.value + by) * 20) / 20)); };
  return [
    ...tools.map((tool) => ({
      keys: [tool.key], does: `Left button: ${tool.name.toLowerCase()}`, group: 'Tools', run: () => { state.tool.value = tool.id; },
    })),
    ...presets,
    { keys: ['x'], does: 'Show or hide the crosshair', group: 'View', run: () => { state.crosshair.value = !state.crosshair.value; } },
    { keys: ['['], does: 'Overlay fainter', group: 'View', run: () => step(-0.1) },
    { keys: [']'], does: 'Overlay stronger', group: 'View', run: () => step(0.1) },
    { keys: ['v'], does: 'Next volume', group: 'View', run: () => nextVolume(store) },
    { keys: ['f'], does: 'Flick between both scans', group: 'Fused view', run: () => flick(state) },
    { keys: ['g'], does: 'Swap both scans', group: 'Fused view', run: () => swapScans(store) },
    { keys: ['b'], does: 'Both scans again', group: 'Fused view', run: () => state.fuse({ only: null }) },
    { keys: ['n'], does: 'Next: blend, checkerboard, split, side by side', group: 'Fused view', run: () => nextMode(state) },
    { keys: ['.'], does: 'More of the second scan, or larger tiles', group: 'Fused view', run: () => fusionStep(state, 1) },
    { keys: [','], does: 'Less of the second scan, or smaller tiles', group: 'Fused view', run: () => fusionStep(state, -1) },
    { keys: ['r'], does: 'Reset all views', group: 'View', run: reset },
  ];
}

function Tabs({ layout, open, onLayout }: { layout: Layout; open: number; onLayout: (layout: Layout) => void }): JSX.Element {
  const tabs: [Layout, string][] = [['axial', 'Axial'], ['coronal', 'Coronal'], ['sagittal', 'Sagittal'], ['scene', '3D'],
    ['side', open > 0 ? `Case · ${open} open` : 'Case']];
  return (
    <nav class="tabs" aria-label="Views">
      {tabs.map(([id, name]) => (
        <button key={id} type="button" aria-current={layout === id ? 'page' : undefined} onClick={() => onLayout(id)}>{name}</button>
      ))}
    </nav>
  );
}

export default function CasePage({ id }: { id: string }): JSX.Element {
  const parts = useParts(id);
  const { store, state, stage } = parts;
  const layout = useSignal<Layout>(phone.matches ? 'axial' : 'grid');
  const sidebar = useSignal(true);
  /** What the form for a job starts with: a kind, or “” for what suits the scan; null while it is closed. */
  const running = useSignal<string | null>(null);
  const problem = useSignal('');
  const loaded = useSignal(0);
  const active = useRef<PaneId>('axial');
  const side = useRef<Side>('first');
  const beside = state.beside.value;
  const gestures = useRef(new Map<Orientation, Gestures>());
  const scene = useRef<Scene3D | null>(null);

  useEffect(() => {
    stage.onFirstPicture = () => {
      state.pictured.value = true;
      performance.mark('kerf-first-picture');
      document.documentElement.dataset['firstPicture'] = '1';
    };
    const say = (text: string) => {
      problem.value = text;
      if (text) state.pictured.value = true; // what waits for a picture would wait in vain
    };
    const display = new Display(store, stage, say, (fraction) => { loaded.value = fraction; });
    stage.start().catch((cause: unknown) => say(`Slices cannot be shown here: ${cause instanceof Error ? cause.message : String(cause)}`));
    const fold = () => { layout.value = phone.matches ? 'axial' : 'grid'; };
    phone.addEventListener('change', fold);
    return () => {
      phone.removeEventListener('change', fold);
      display.close();
      stage.close();
      store.close();
      delete document.documentElement.dataset['firstPicture'];
    };
  }, []);
  useEffect(() => {
    const detail = store.detail.value;
    document.title = detail ? `${detail.number} · ${personName(detail.patient.name)} · Kerf` : 'Case · Kerf';
  }, [store.detail.value]);

  const reset = () => {
    state.fits.value += 1;
    const meta = store.volume.value?.meta;
    if (meta) state.window.value = { ...firstWindow(meta) };
    const other = store.partner.value;
    if (other) state.fuse({ window: { ...firstWindow(other.volume.meta) } });
    scene.current?.reset();
  };
  const enlarge = (pane: PaneId) => {
    active.current = pane;
    layout.value = layout.value === pane && !phone.matches ? 'grid' : pane;
  };
  const scroll = (steps: number) => gestures.current.get(active.current === 'scene' ? 'axial' : active.current)?.scroll(steps);
  useShortcuts([
    // As on every slider (ARIA): up is more. The panes are sliders of their slice's number.
    { keys: ['ArrowUp'], does: 'Next slice', group: 'Slices', run: () => scroll(1) },
    { keys: ['ArrowDown'], does: 'Previous slice', group: 'Slices', run: () => scroll(-1) },
    { keys: ['PageUp'], does: 'Ten slices on', group: 'Slices', run: () => scroll(10) },
    { keys: ['PageDown'], does: 'Ten slices back', group: 'Slices', run: () => scroll(-10) },
    { keys: ['Home'], does: 'First slice', group: 'Slices', run: () => scroll(-Infinity) },
    { keys: ['End'], does: 'Last slice', group: 'Slices', run: () => scroll(Infinity) },
    { keys: ['m'], does: 'Enlarge the pane in use, or show all', group: 'View', run: () => enlarge(active.current) },
    { keys: ['Escape'], does: 'Show all panes', group: 'View', run: () => { if (!phone.matches) layout.value = 'grid'; } },
    { keys: ['s'], does: 'Show or hide the side panel', group: 'View', run: () => { sidebar.value = !sidebar.value; } },
    { keys: ['j'], does: 'Run a job', group: 'View', run: () => { if (mayDo('admin', 'technician', 'planner')) running.value = ''; } },
    ...viewerShortcuts(parts, () => side.current, reset),
  ]);

  const follow = (event: Event) => {
    const [pane, second] = (event.target as Element).closest<HTMLElement>('[data-pane]')?.dataset['pane']?.split('-') ?? [];
    if (!pane) return;
    active.current = pane as PaneId;
    side.current = second ? 'second' : 'first';
  };
  const scans = [store.volume.value, store.partner.value?.volume];
  const [one, two] = scans.map((scan) => scanName(scan));
  // “CT + MR” has room in any pane; two of one kind are told apart by their names.
  const [kind, other] = scans.map((scan) => scan?.meta.modality ?? '?');
  const both = kind === other ? `${one} + ${two}` : `${kind} + ${other}`;
  return (
    <Shell fixed bar={<CaseBar store={store} />}>
      <div class={`case layout-${layout.value}${sidebar.value ? '' : ' no-side'}`}>
        <Sidebar store={store} state={state} onRun={(kind) => { running.value = kind; }} />
        <main class="viewer" onPointerMove={follow} onFocusIn={follow}>
          <Toolbar state={state} meta={store.volume.value?.meta ?? null} sidebar={sidebar.value}
            onSidebar={() => { sidebar.value = !sidebar.value; }} onReset={reset} />
          <div class={beside ? 'panes beside' : 'panes'} data-loaded={loaded.value.toFixed(2)}>
            {orientations.flatMap((orientation) => [
              <SlicePane key={orientation} stage={stage} orientation={orientation} side="first" scan={scansShown(state.fusion.value, beside, one, two, both)}
                carried={carriedWords(store, state, 'first')} large={layout.value === orientation} onLarge={() => enlarge(orientation)} onGestures={(o, g) => gestures.current.set(o, g)} />,
              <SlicePane key={`${orientation}2`} stage={stage} orientation={orientation} side="second" scan={beside ? two : ''}
                carried={beside ? carriedWords(store, state, 'second') : ''}
                large={layout.value === orientation} onLarge={() => enlarge(orientation)} />,
            ])}
            <ScenePane store={store} state={state} large={layout.value === 'scene'} onLarge={() => enlarge('scene')}
              onScene={(made) => { scene.current = made; }} />
            <EmptyGrid store={store} problem={problem.value} />
            {loaded.value > 0 && loaded.value < 1 && (
              <div class="refining" role="status">Full detail {percent(loaded.value)}</div>
            )}
          </div>
        </main>
        {running.value !== null && <RunDialog store={store} kind={running.value} onClose={() => { running.value = null; }} />}
        <Tabs layout={layout.value} open={store.jobs.value.filter(isOpen).length} onLayout={(next) => { layout.value = next; }} />
      </div>
    </Shell>
  );
}


// The fused view: which scan lies over the shown one, and how both are seen.
import { batch } from '@preact/signals';
import type { JSX } from 'preact';
import { fusionColours, type FusionColours, type FusionMode } from '../slices/fusion';
import type { ViewState } from '../slices/state';
import { currentPreset, presetsFor } from '../slices/presets';
import { figure } from '../ui/format';
import { Icon } from '../ui/icons';
import { radioKeys, radioStop } from '../ui/radio';
import { alignmentDoubts, alignmentLines } from './alignment';
import { alignmentOf } from './model';
import type { CaseStore } from './store';

const modes: [FusionMode, string][] = [['blend', 'Blend'], ['checker', 'Checkerboard'], ['split', 'Split'], ['beside', 'Side by side']];

const tiles: [number, number] = [5, 60];
const tileStep = 5;

/** Shows the scan that lies on top alone, or lets the two change places; the cursor stays at its point of the patient. */
export function flick(state: ViewState): void {
  const only = state.fusion.value?.only;
  state.fuse({ only: only === 'second' ? 'first' : 'second' });
}

/** More or less of the second scan in a blend, larger or smaller tiles in a checkerboard. */
export function step(state: ViewState, by: 1 | -1): void {
  const fusion = state.fusion.value;
  const within = (value: number, [low, high]: [number, number]) => Math.min(high, Math.max(low, value));
  if (fusion?.mode === 'blend') state.fuse({ blend: within(Math.round(fusion.blend * 20 + by) / 20, [0, 1]), only: null });
  if (fusion?.mode === 'checker') state.fuse({ tileMm: within(fusion.tileMm + by * tileStep, tiles), only: null });
}

export function nextMode(state: ViewState): void {
  const at = modes.findIndex(([id]) => id === state.fusion.value?.mode);
  state.fuse({ mode: modes[(at + 1) % modes.length][0], only: null });
}

export function swapScans(store: CaseStore): void {
  const [shown, second] = [store.volume.value?.view.id ?? null, store.second.value];
  if (!shown || !second) return;
  batch(() => {
    store.chosen.value = second;
    store.second.value = shown;
  });
}

function Slider({ name, value, low, high, step, shown, onValue }: {
  name: string; value: number; low: number; high: number; step: number; shown: string; onValue: (value: number) => void;
}): JSX.Element {
  return (
    <label class="fusion-line"><span>{name}</span>
      <input type="range" min={low} max={high} step={step} value={value} aria-valuetext={shown} onInput={(event) => onValue(Number(event.currentTarget.value))} />
      <output>{shown}</output>
    </label>
  );
}

/** The few controls that a phone keeps beside the picture: how both are shown, and flicking. */
export function FusionStrip({ state }: { state: ViewState }): JSX.Element | null {
  const fusion = state.fusion.value;
  if (!fusion) return null;
  return (
    <div class="only-phone">
      <select aria-label="How both are shown" value={fusion.mode} data-testid="fusion-mode"
        onChange={(event) => state.fuse({ mode: event.currentTarget.value as FusionMode, only: null })}>
        {modes.map(([id, name]) => <option key={id} value={id}>{name}</option>)}
      </select>
      <button type="button" onClick={() => flick(state)} aria-label={`Flick to the ${fusion.only === 'second' ? 'first' : 'second'} scan`}>
        {fusion.only === 'second' ? '1st' : '2nd'}</button>
    </div>
  );
}

function Controls({ store, state }: { store: CaseStore; state: ViewState }): JSX.Element | null {
  const fusion = state.fusion.value;
  if (!fusion) return null;
  const { window, range } = fusion;
  const span = range[1] - range[0];
  const digits = span > 20 ? 0 : 2;
  const meta = store.partner.value?.volume.meta;
  const presets = meta ? presetsFor(meta) : [];
  return (
    <div class="fusion">
      <div class="fusion-modes" role="radiogroup" aria-label="How both are shown" onKeyDown={radioKeys}>
        {modes.map(([id, name]) => (
          <button key={id} type="button" class="small" role="radio" aria-checked={fusion.mode === id} tabIndex={radioStop(fusion.mode === id)}
            onClick={() => state.fuse({ mode: id, only: null })}>{name}</button>
        ))}
      </div>
      {fusion.mode === 'blend' && (
        <Slider name="Share" value={fusion.blend} low={0} high={1} step={0.05} shown={`${Math.round(fusion.blend * 100)} %`}
          onValue={(blend) => state.fuse({ blend, only: null })} />
      )}
      {fusion.mode === 'checker' && (
        <Slider name="Tile" value={fusion.tileMm} low={tiles[0]} high={tiles[1]} step={tileStep} shown={`${fusion.tileMm} mm`} onValue={(tileMm) => state.fuse({ tileMm, only: null })} />
      )}
      <label class="fusion-line"><span>Window</span>
        <select value={currentPreset(window, presets)} aria-label="Window of the second scan" onChange={(event) => {
          const preset = presets.find((p) => p.id === event.currentTarget.value);
          if (preset) state.fuse({ window: { centre: preset.centre, width: preset.width } });
        }}>
          <option value="" hidden>Own</option>
          {presets.map((preset) => <option key={preset.id} value={preset.id}>{preset.name}</option>)}
        </select>
      </label>
      <Slider name="Centre" value={window.centre} low={range[0]} high={range[1]} step={span / 400}
        shown={figure(window.centre, digits)} onValue={(centre) => state.fuse({ window: { ...window, centre } })} />
      <Slider name="Width" value={window.width} low={span / 400} high={span} step={span / 400} shown={figure(window.width, digits)}
        onValue={(width) => state.fuse({ window: { ...window, width } })} />
      {fusion.mode !== 'beside' && (
        <label class="fusion-line"><span>Colours</span>
          <select value={fusion.colours} onChange={(event) => state.fuse({ colours: event.currentTarget.value as FusionColours })}>
            {Object.entries(fusionColours).map(([id, name]) => <option key={id} value={id}>{name}</option>)}
          </select>
        </label>
      )}
      <label class="fusion-check">
        <input type="checkbox" checked={fusion.bothLabels} data-testid="both-labels" onChange={(event) => state.fuse({ bothLabels: event.currentTarget.checked })} />
        <span>Labels of the other scan too<small>Carried over by the alignment, and as far off as it is.</small></span>
      </label>
      <div class="fusion-modes">
        <button type="button" class="small" title="F" onClick={() => flick(state)}>Flick to {fusion.only === 'second' ? 'first' : 'second'}</button>
        {fusion.only && <button type="button" class="small" onClick={() => state.fuse({ only: null })}>Both</button>}
        <button type="button" class="small" title="G" onClick={() => swapScans(store)}>Swap</button>
      </div>
    </div>
  );
}

/** What is known of how well both lie on each other, and what is not. */
function Alignment({ store }: { store: CaseStore }): JSX.Element | null {
  const [shown, partner] = [store.volume.value, store.partner.value];
  if (!shown || !partner) return null;
  const transform = alignmentOf(shown, partner.volume, store.artefacts.value);
  if (!transform) {
    return (
      <p class="set-note"><Icon name="dot" size={14} />
        <span>Not aligned by Kerf: both scans came with one frame of reference. A patient who moved between them is not corrected for.</span></p>
    );
  }
  const doubts = alignmentDoubts(transform, store.jobs.value);
  const lines = alignmentLines(transform);
  const sure = doubts.length === 0 && lines.every((line) => !line.odd);
  return (
    <details class="alignment" data-testid="alignment" open={!sure}>
      <summary>
        <span>Alignment</span>
        {sure ? <span class="alignment-open"><Icon name="dot" size={14} />error not measured</span>
          : <span class="alignment-odd"><Icon name="warn" size={14} />doubtful: look closely</span>}
      </summary>
      {doubts.map((words) => <p key={words} class="job-warning"><Icon name="warn" size={14} /><span>{words}</span></p>)}
      <p class="alignment-unknown"><strong>Its error in mm is not known:</strong> no landmarks were measured. Judge it at edges of bone and
        canal, with the checkerboard or by flicking, where you will cut.</p>
      <dl>
        {lines.map((line) => (
          <div key={line.name} class={line.odd ? 'odd' : ''}>
            <dt>{line.odd && <Icon name="warn" size={13} />}{line.name}</dt><dd>{line.value}</dd>
            <dd class="alignment-about">{line.about}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

export function FusionPanel({ store, state }: { store: CaseStore; state: ViewState }): JSX.Element {
  const partners = store.partners.value;
  if (partners.length === 0) return <p class="side-empty">{store.volumes.value.length > 1
    ? 'The scans of this case are not aligned yet. “Run a job”, Fuse CT and MR, lays one over the other.'
    : 'For comparing two scans of a patient, a CT and an MR for example: they appear here when a second one has come.'}</p>;
  const chosen = partners.some((p) => p.volume.view.id === store.second.value) ? store.second.value ?? '' : '';
  return (
    <>
      <select class="fusion-choice" aria-label="Second scan" value={chosen} data-testid="second-scan"
        onChange={(event) => { store.second.value = event.currentTarget.value || null; }}>
        <option value="">One scan only</option>
        {partners.map(({ volume }) => <option key={volume.view.id} value={volume.view.id}>{volume.meta.modality ?? '?'} · {volume.name}</option>)}
      </select>
      {!chosen && <p class="side-empty">Choose a scan to see both in one picture, or side by side.</p>}
      <Controls store={store} state={state} />
      <Alignment store={store} />
    </>
  );
}

// Running a job by hand: a preset or a kind, its inputs, its parameters as the server describes them.
import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { get } from '../api/client';
import type { Artefact, JobKind, JobKinds, JobParam, JobPreset } from '../api/types';
import { Dialog } from '../ui/dialog';
import { Icon } from '../ui/icons';
import { reason } from '../ui/toast';
import { clock, scanName, segmentationName } from './groups';
import type { CaseStore } from './store';

type Value = number | boolean | string;

/** threshold_hu and bone_hu as “Threshold”, “Bone threshold”: the unit is shown beside the field. */
export function paramName(name: string): string {
  const bare = name.replace(/_(hu|mm|mm3|ml|deg|s)$/, '');
  const words = `${bare}${/_hu$/.test(name) && !/threshold/.test(bare) ? ' threshold' : ''}`.replace(/_/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Names and help of inputs where those of the command line are not for planners. */
const inputWords: Record<string, [string, string]> = {
  fixed: ['Scan that stays', 'Its position counts; the other is brought to it.'],
  a: ['First (A)', 'What a job found.'],
  b: ['Second (B)', 'What another found in the same scan. Which of both is right does not matter.'],
  moving: ['Scan that moves', 'Is brought to the one that stays.'],
};

const choiceWords: Record<string, string> = {
  rigid: 'Rigid', affine: 'Affine', deformable: 'Deformable', mi: 'Mutual information', msd: 'Squared difference', auto: 'As the scan says', ct: 'CT', mr: 'MR',
};

/** What the field says against a value, empty when nothing. */
export function paramFault(param: JobParam, value: Value): string {
  if (param.type !== 'number' && param.type !== 'integer') return '';
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'A number is needed.';
  if (param.type === 'integer' && !Number.isInteger(value)) return 'A whole number is needed.';
  const unit = param.unit === '1' ? '' : ` ${param.unit}`;
  const out = (param.minimum !== undefined && value < param.minimum) || (param.maximum !== undefined && value > param.maximum);
  return out ? `From ${param.minimum} to ${param.maximum}${unit}.` : '';
}

interface Candidate {
  id: string;
  name: string;
  modality: string;
  /** Resampled onto another scan: for looking, not for finding anatomy in. */
  resampled: boolean;
}

/** Artefacts that fit an input, with the names that people know them by; the scan that is looked at comes first. */
function candidates(store: CaseStore, artefact: string): Candidate[] {
  if (artefact === 'volume') {
    const shown = store.volume.value;
    return store.volumes.value.filter((v) => v.source).sort((a, b) => Number(b === shown) - Number(a === shown)).map((v) => ({
      id: v.id, name: scanName(v), modality: v.meta.modality ?? '', resampled: v.meta.of === 'moving',
    }));
  }
  const named = (a: Artefact) => (a.kind === 'segmentation' ? segmentationName(a, store.volumes.value, store.jobs.value) : `${a.name} · ${clock(a.created_at)}`);
  return store.artefacts.value.filter((a) => a.kind === artefact && !a.superseded).sort((a, b) => b.created_at.localeCompare(a.created_at)).map((a) => ({ id: a.id, modality: '', resampled: false, name: named(a) }));
}

/** The one that a form starts with: of the preset's modality and as it came, where there is one; for a second scan rather another modality. */
function firstChoice(free: readonly Candidate[], modality: string | undefined, second: boolean): Candidate | undefined {
  const own = free.filter((f) => !f.resampled);
  return own.find((f) => modality !== undefined && (f.modality === modality) !== second) ?? own[0] ?? free[0];
}

/** A second segmentation to compare: of the same anatomy rather than any other. */
function alike(free: readonly Candidate[], first: Candidate | undefined): Candidate | undefined {
  const title = (c: Candidate | undefined) => c?.name.split(' · ')[0];
  return free.find((f) => title(f) === title(first)) ?? free[0];
}

/** Whole words, as DICOM's terms for the part of the body (LSPINE, HEADNECK) and as people write them; “legend” is no leg. */
const regions: [RegExp, string, string][] = [
  [/^([ctls]{0,3}|whole)spines?$|^spinal$|^vertebra/, 'spine_ct', 'spine_mr'],
  [/^([lr]|lower)?legs?$|^tibia|^fibula|^(calf|calves)$/, 'leg', ''],
  [/^head(neck)?$|^skull|^jaws?$|^mandib|^maxill|^face$|facial$|^dent(al|ition|ascan)/, 'jaw', ''],
];

/** The preset that suits the shown scan, as its series names the part of the body. */
export function presetFor(presets: readonly JobPreset[], words: string, modality: string): JobPreset | undefined {
  const each = words.toLowerCase().match(/[a-z]+/g) ?? [];
  const [, ct = '', mr = ''] = regions.find(([pattern]) => each.some((word) => pattern.test(word))) ?? [];
  return presets.find((p) => p.id === (modality === 'MR' ? mr : ct));
}

function suited(store: CaseStore, all: JobKinds): string {
  const shown = store.volume.value;
  const series = store.detail.value?.studies.flatMap((study) => study.series).find((s) => s.id === shown?.view.series_id);
  const preset = presetFor(all.presets, `${series?.body_part ?? ''} ${series?.description ?? ''}`, shown?.meta.modality ?? '')
    ?? all.presets.find((p) => p.modality === shown?.meta.modality) ?? all.presets[0];
  return preset ? `preset:${preset.id}` : `kind:${all.kinds[0]?.name ?? ''}`;
}

const usual = (value: Value): string => (typeof value === 'boolean' ? (value ? 'on' : 'off') : choiceWords[String(value)]?.toLowerCase() ?? String(value).replace('-', '−'));

function ParamField({ param, value, onValue }: { param: JobParam; value: Value; onValue: (value: Value) => void }): JSX.Element {
  const fault = paramFault(param, value);
  const unit = param.unit === '1' ? '' : param.unit;
  const id = `param-${param.name}`;
  const range = param.minimum === undefined ? '' : ` ${param.minimum} to ${param.maximum}${unit && ` ${unit}`}.`;
  return (
    <div class={`param${fault ? ' wrong' : ''}`}>
      <label for={id}>{paramName(param.name)}{unit && <span> {unit}</span>}</label>
      {param.type === 'boolean' && <input id={id} type="checkbox" checked={value === true} onChange={(event) => onValue(event.currentTarget.checked)} />}
      {param.type === 'text' && param.choices && (
        <select id={id} value={String(value)} onChange={(event) => onValue(event.currentTarget.value)}>
          {param.choices.map((choice) => <option key={choice} value={choice}>{choiceWords[choice] ?? choice}</option>)}
        </select>
      )}
      {param.type === 'text' && !param.choices && <input id={id} value={String(value)} onInput={(event) => onValue(event.currentTarget.value)} />}
      {(param.type === 'number' || param.type === 'integer') && (
        <input id={id} type="number" step="any" min={param.minimum} max={param.maximum} value={Number.isNaN(value) ? '' : String(value)}
          aria-invalid={fault !== ''} aria-describedby={`${id}-help`} onInput={(event) => onValue(event.currentTarget.valueAsNumber)} />
      )}
      <p id={`${id}-help`}>{fault || `${param.help}${range} Usually ${usual(param.default)}.`}</p>
    </div>
  );
}

function Doubt({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="job-warning" role="status"><Icon name="warn" size={14} /><span>{children}</span></p>;
}

function Form({ store, all, kind: asked, onClose }: { store: CaseStore; all: JobKinds; kind: string; onClose: () => void }): JSX.Element {
  const choice = useSignal(useMemo(() => (all.kinds.some((k) => k.name === asked) ? `kind:${asked}` : suited(store, all)), []));
  const given = useSignal<Record<string, Value>>({});
  const inputs = useSignal<Record<string, string>>({});
  const fault = useSignal('');
  const busy = useSignal(false);
  const first = useRef<HTMLSelectElement>(null);
  useLayoutEffect(() => first.current?.focus(), []);
  const [sort, id] = choice.value.split(':');
  const preset = sort === 'preset' ? all.presets.find((p) => p.id === id) : undefined;
  const kind: JobKind | undefined = all.kinds.find((k) => k.name === (preset?.kind ?? id));
  if (!kind) return <p>There is no job to run.</p>;
  const values: Record<string, Value> = { ...Object.fromEntries(kind.params.map((p) => [p.name, p.default])), ...preset?.params, ...given.value };
  const chosen = new Map<string, string>();
  kind.inputs.forEach((input, at) => {
    const fits = candidates(store, input.artefact);
    const free = fits.filter((f) => ![...chosen.values()].includes(f.id));
    const [before] = [...chosen.values()];
    const first = input.artefact === 'volume' ? firstChoice(free, preset?.modality, at > 0) : alike(free, fits.find((f) => f.id === before));
    chosen.set(input.name, inputs.value[input.name] ?? (input.required || at === 0 ? first?.id ?? '' : ''));
  });
  const lacking = kind.inputs.filter((input) => input.required && !chosen.get(input.name));
  const wrong = kind.params.some((p) => paramFault(p, values[p.name]) !== '');
  const changed = kind.params.filter((p) => p.name in given.value && given.value[p.name] !== (preset?.params[p.name] ?? p.default)).length;
  const main = candidates(store, 'volume').find((f) => f.id === chosen.get(kind.inputs[0]?.name ?? ''));
  const unlike = main !== undefined && main.modality !== preset?.modality;
  const inputLine = (input: JobKind['inputs'][number]) => (
    <label class="run-line" key={input.name}><span>{inputWords[input.name]?.[0] ?? paramName(input.name)}</span>
      <select value={chosen.get(input.name)} data-testid={`run-input-${input.name}`}
        onChange={(event) => { inputs.value = { ...inputs.value, [input.name]: event.currentTarget.value }; }}>
        {(!input.required || !chosen.get(input.name)) && <option value="">{input.required ? 'Nothing fits in this case' : 'None'}</option>}
        {candidates(store, input.artefact).map((f) => <option key={f.id} value={f.id}>{f.name}</option>)}
      </select>
      <small>{inputWords[input.name]?.[1] ?? input.help}</small>
    </label>
  );
  const optional = kind.inputs.filter((input, at) => !input.required && at > 0);
  const start = async () => {
    busy.value = true;
    fault.value = '';
    try {
      const list = kind.inputs.flatMap((input) => (chosen.get(input.name) ? [{ role: input.name, id: chosen.get(input.name) ?? '' }] : []));
      await store.run(kind.name, values, list, crypto.randomUUID());
      onClose();
    } catch (cause) {
      fault.value = reason(cause);
    }
    busy.value = false;
  };
  return (
    <form class="run" onSubmit={(event) => { event.preventDefault(); void start(); }}>
      <label class="run-line"><span>Job</span>
        <select value={choice.value} data-testid="run-choice" ref={first} onChange={(event) => {
          choice.value = event.currentTarget.value;
          given.value = {};
          inputs.value = {};
        }}>
          <optgroup label="Presets">{all.presets.map((p) => <option key={p.id} value={`preset:${p.id}`}>{p.title}</option>)}</optgroup>
          <optgroup label="All jobs">{all.kinds.map((k) => <option key={k.name} value={`kind:${k.name}`}>{k.title}</option>)}</optgroup>
        </select>
      </label>
      <p class="run-about">{preset ? preset.detail : kind.summary}
        {preset?.fallback && <strong> The job made for this is not installed: “{kind.title}” stands in, and does not tell structures apart.</strong>}</p>
      {preset && (
        <dl class="run-help">
          <div><dt>Needs</dt><dd>{preset.needs}</dd></div>
          <div><dt>Yields</dt><dd>{preset.yields}</dd></div>
          <div><dt>Takes</dt><dd>{preset.takes} You can go on working meanwhile.</dd></div>
        </dl>
      )}
      {kind.inputs.filter((input) => !optional.includes(input)).map(inputLine)}
      {preset && unlike && (
        <Doubt>“{preset.title}” is made for {preset.modality}, and the chosen scan is {main.modality || 'of an unknown kind'}: expect it to be
          refused or wrong.</Doubt>
      )}
      {main?.resampled && <Doubt>This scan was resampled onto another one and is less sharp: choose the scan as it came.</Doubt>}
      {optional.length > 0 && (
        <details class="run-params"><summary>Further inputs<span>none needed</span></summary><div class="run-more">{optional.map(inputLine)}</div></details>
      )}
      {kind.params.length > 0 && (
        <details class="run-params" open={!preset} key={choice.value}>
          <summary>Parameters{preset && <span>{changed > 0 ? `${changed} changed` : 'as the preset has them'}</span>}</summary>
          {kind.params.map((p) => <ParamField key={p.name} param={p} value={values[p.name]} onValue={(value) => { given.value = { ...given.value, [p.name]: value }; }} />)}
        </details>
      )}
      {fault.value && <p class="run-fault" role="alert">{fault.value}</p>}
      <div class="run-foot">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="submit" class="primary" disabled={busy.value || wrong || lacking.length > 0}>Start</button>
      </div>
    </form>
  );
}

/** `kind`: the one that is asked for, empty for what suits the shown scan. */
export function RunDialog({ store, kind, onClose }: { store: CaseStore; kind: string; onClose: () => void }): JSX.Element {
  const all = useSignal<JobKinds | null>(null);
  const fault = useSignal('');
  useEffect(() => {
    get<JobKinds>('/job-kinds').then((kinds) => { all.value = kinds; }, (cause: unknown) => { fault.value = reason(cause); });
  }, []);
  return (
    <Dialog title="Run a job" onClose={onClose}>
      {fault.value && <p class="run-fault" role="alert">{fault.value}</p>}
      {all.value && <Form store={store} all={all.value} kind={kind} onClose={onClose} />}
    </Dialog>
  );
}

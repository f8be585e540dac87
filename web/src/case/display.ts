// Ties an open case to what the panes show: the chosen volume and the labels that lie over it.
import { effect, untracked } from '@preact/signals';
import type { Artefact } from '../api/types';
import type { Side } from '../slices/fusion';
import { firstWindow, type Window } from '../slices/presets';
import type { Stage } from '../slices/stage';
import { ctSpan, type LabelLayer, type LabelStyle } from '../slices/state';
import { ViewVolume } from '../slices/volume';
import { reason, sayError } from '../ui/toast';
import { foundIn, scanOf } from './groups';
import type { ShownVolume, Structure } from './model';
import type { CaseStore } from './store';

interface Open {
  shown: ShownVolume;
  volume: ViewVolume;
}

type Partner = { volume: ShownVolume; tie: number[][] } | null;

const identity = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];

export class Display {
  private readonly ends: (() => void)[];
  private open: Open | null = null;
  private partner: Open | null = null;
  private readonly labels = new Map<string, ViewVolume>();
  /** Brightness and contrast that were chosen for a volume, by its view's id: they stay with it. */
  private readonly windows = new Map<string, Window>();

  /** `onProblem` says why a volume cannot be shown, or that it can (empty); `onProgress` how much of it is exact. */
  constructor(
    private readonly store: CaseStore, private readonly stage: Stage, private readonly onProblem: (text: string) => void,
    private readonly onProgress: (fraction: number) => void,
  ) {
    this.ends = [
      // One effect for both scans: when they change places, each must find the other where it was.
      effect(() => {
        const [shown, partner] = [store.volume.value, store.partner.value];
        untracked(() => this.change(shown, partner));
      }),
      effect(() => {
        const [structures, scans] = [store.structures.value, [store.volume.value, store.partner.value?.volume ?? null]];
        void store.looks.value;
        untracked(() => this.overlay(structures, scans));
      }),
    ];
  }

  private change(shown: ShownVolume | null, partner: Partner): void {
    const before = [this.open, this.partner].filter((open) => open !== null);
    this.keepWindows();
    const take = (wanted: ShownVolume): ViewVolume => {
      const known = before.find((open) => open.shown.view.id === wanted.view.id);
      if (known) return known.volume;
      const volume = this.volumeOf(wanted.view);
      void volume.load(this.stage.state.afterPicture());
      return volume;
    };
    if (shown?.view.id !== this.open?.shown.view.id) this.show(shown, take);
    this.fuse(partner, take);
    for (const { volume } of before) if (volume !== this.open?.volume && volume !== this.partner?.volume) volume.stop();
  }

  private show(shown: ShownVolume | null, take: (wanted: ShownVolume) => ViewVolume): void {
    const { state } = this.stage;
    const tie = this.wayTo(shown);
    const swapped = shown !== null && shown.view.id === this.partner?.shown.view.id;
    this.open = null;
    if (!shown) {
      state.volume.value = null;
      return;
    }
    try {
      const volume = take(shown);
      volume.onProgress = this.onProgress;
      this.onProgress(volume.exactShare());
      this.open = { volume, shown };
      const [low, high] = shown.meta.value_range ?? [0, 1];
      state.units.value = shown.meta.units ?? '1';
      state.span.value = shown.meta.units === 'HU' ? ctSpan : Math.max(high - low, 1e-6);
      state.window.value = this.windows.get(shown.view.id) ?? firstWindow(shown.meta);
      state.open(volume, tie, swapped);
      this.onProblem('');
    } catch (cause) {
      state.volume.value = null;
      this.onProblem(reason(cause));
    }
  }

  /** How points of the open scan go to the one that takes its place; null when nothing ties them. */
  private wayTo(next: ShownVolume | null): number[][] | null {
    if (!this.open || !next) return null;
    if (next.view.id === this.partner?.shown.view.id) return this.stage.state.fusion.peek()?.tie ?? null;
    const frame = this.open.shown.meta.frame_of_reference_uid;
    return frame !== undefined && frame === next.meta.frame_of_reference_uid ? identity : null;
  }

  private keepWindows(): void {
    const { state } = this.stage;
    const fusion = state.fusion.peek();
    if (this.open) this.windows.set(this.open.shown.view.id, state.window.peek());
    if (this.partner && fusion) this.windows.set(this.partner.shown.view.id, fusion.window);
  }

  private fuse(partner: Partner, take: (wanted: ShownVolume) => ViewVolume): void {
    const { state } = this.stage;
    const before = state.fusion.peek();
    if (!partner) {
      this.partner = null;
      state.fusion.value = null;
      return;
    }
    const { meta, view, name } = partner.volume;
    if (this.partner?.shown.view.id === view.id && before) {
      state.fuse({ tie: partner.tie });
      return;
    }
    try {
      const volume = take(partner.volume);
      volume.onProgress = () => undefined;
      this.partner = { volume, shown: partner.volume };
      const [low, high] = meta.value_range ?? [0, 1];
      state.fusion.value = {
        mode: 'blend', colours: 'amber', blend: 0.5, tileMm: 20, bothLabels: false, ...before, only: null, volume, name, tie: partner.tie,
        window: this.windows.get(view.id) ?? firstWindow(meta), units: meta.units ?? '1',
        range: meta.units === 'HU' ? [-1000, 3000] : [low, Math.max(high, low + 1e-6)],
      };
    } catch (cause) {
      this.partner = null;
      state.fusion.value = null;
      sayError(cause);
    }
  }

  private volumeOf(view: Artefact): ViewVolume {
    const volume = new ViewVolume(view);
    volume.onSlices = (k0, k1) => this.stage.slicesArrived(volume, k0, k1);
    volume.onError = (error) => sayError(error);
    return volume;
  }

  private labelVolume(view: Artefact): ViewVolume | null {
    const known = this.labels.get(view.sha256);
    if (known) return known;
    try {
      const volume = this.volumeOf(view);
      this.labels.set(view.sha256, volume);
      const gate = this.stage.state.afterPicture();
      void gate.then(() => volume.load(gate));
      return volume;
    } catch (cause) {
      sayError(cause);
      return null;
    }
  }

  /** Which of both scans a structure was found in: labels lie on that scan alone, another one may not be registered to it. */
  private sideOf(structure: Structure, scans: readonly (ShownVolume | null)[]): Side | null {
    const { value: volumes } = this.store.volumes;
    const own = scanOf(structure.of, volumes)?.view.id;
    const exact = scans.findIndex((scan) => scan !== null && scan.view.id === own);
    const at = exact >= 0 ? exact : scans.findIndex((scan) => scan !== null && foundIn(structure.of, scan, volumes));
    return at < 0 ? null : at === 0 ? 'first' : 'second';
  }

  private overlay(structures: readonly Structure[], scans: readonly (ShownVolume | null)[]): void {
    const layers = new Map<string, { volume: ViewVolume; side: Side; styles: Map<number, LabelStyle> }>();
    for (const structure of structures) {
      const look = this.store.look(structure.key);
      const side = this.sideOf(structure, scans);
      if (!structure.labels || !side) continue;
      const volume = this.labelVolume(structure.labels);
      if (!volume) continue;
      const layer = layers.get(structure.labels.sha256) ?? { volume, side, styles: new Map<number, LabelStyle>() };
      if (look.visible) {
        const { called, mark } = structure;
        layer.styles.set(structure.label, { colour: look.colour ?? structure.colour, opacity: look.opacity, name: called, mark });
      }
      layers.set(structure.labels.sha256, layer);
    }
    for (const [sha, volume] of this.labels) {
      if (layers.has(sha)) continue;
      volume.stop();
      this.labels.delete(sha);
    }
    this.stage.state.layers.value = [...layers.values()] satisfies LabelLayer[];
  }

  close(): void {
    for (const end of this.ends) end();
    this.open?.volume.stop();
    this.partner?.volume.stop();
    for (const volume of this.labels.values()) volume.stop();
  }
}

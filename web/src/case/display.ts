// Ties an open case to what the panes show: the chosen volume and the labels that lie over it.
import { effect, untracked } from '@preact/signals';
import type { Artefact } from '../api/types';
import { firstWindow } from '../slices/presets';
import type { Stage } from '../slices/stage';
import type { LabelLayer, LabelStyle } from '../slices/state';
import { ViewVolume } from '../slices/volume';
import { reason, sayError } from '../ui/toast';
import type { ShownVolume, Structure } from './model';
import type { CaseStore } from './store';

export class Display {
  private readonly ends: (() => void)[];
  private open: { volume: ViewVolume; shown: ShownVolume } | null = null;
  private partner: { id: string; volume: ViewVolume } | null = null;
  private readonly labels = new Map<string, ViewVolume>();

  /** `onProblem` says why a volume cannot be shown, or that it can (empty); `onProgress` how much of it is exact. */
  constructor(
    private readonly store: CaseStore, private readonly stage: Stage, private readonly onProblem: (text: string) => void,
    private readonly onProgress: (fraction: number) => void,
  ) {
    this.ends = [
      effect(() => {
        const shown = store.volume.value;
        untracked(() => this.show(shown));
      }),
      effect(() => {
        const second = store.second.value;
        const partner = store.partners.value.find((p) => p.volume.view.id === second) ?? null;
        untracked(() => this.fuse(partner));
      }),
      effect(() => {
        const [structures, shown] = [store.structures.value, store.volume.value];
        void store.looks.value;
        untracked(() => this.overlay(structures, shown));
      }),
    ];
  }

  private show(shown: ShownVolume | null): void {
    if (shown?.view.id === this.open?.shown.view.id) return;
    this.open?.volume.stop();
    const before = this.open?.shown.meta.frame_of_reference_uid;
    this.open = null;
    const { state } = this.stage;
    if (!shown) {
      state.volume.value = null;
      return;
    }
    try {
      const volume = this.volumeOf(shown.view);
      volume.onProgress = this.onProgress;
      this.onProgress(0);
      this.open = { volume, shown };
      const [low, high] = shown.meta.value_range ?? [0, 1];
      state.units.value = shown.meta.units ?? '1';
      state.span.value = shown.meta.units === 'HU' ? 2000 : Math.max(high - low, 1e-6);
      state.window.value = firstWindow(shown.meta);
      state.open(volume, before !== undefined && before === shown.meta.frame_of_reference_uid);
      this.onProblem('');
      void volume.load(state.afterPicture());
    } catch (cause) {
      state.volume.value = null;
      this.onProblem(reason(cause));
    }
  }

  private fuse(partner: { volume: ShownVolume; tie: number[][] } | null): void {
    const { state } = this.stage;
    const before = state.fusion.peek();
    if (!partner) {
      this.partner?.volume.stop();
      this.partner = null;
      state.fusion.value = null;
      return;
    }
    const { meta, view, name } = partner.volume;
    if (this.partner?.id === view.id && before) {
      state.fuse({ tie: partner.tie });
      return;
    }
    try {
      this.partner?.volume.stop();
      const volume = this.volumeOf(view);
      this.partner = { id: view.id, volume };
      const [low, high] = meta.value_range ?? [0, 1];
      state.fusion.value = {
        mode: 'blend', colours: 'amber', blend: 0.5, tileMm: 20, ...before, only: null, volume, name, tie: partner.tie, window: firstWindow(meta),
        units: meta.units ?? '1', range: meta.units === 'HU' ? [-1000, 3000] : [low, Math.max(high, low + 1e-6)],
      };
      const gate = state.afterPicture();
      void volume.load(gate);
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

  private overlay(structures: readonly Structure[], shown: ShownVolume | null): void {
    const layers = new Map<string, { volume: ViewVolume; styles: Map<number, LabelStyle> }>();
    for (const structure of structures) {
      const look = this.store.look(structure.key);
      // Labels lie only over the scan they were drawn on: another series may not be registered to it.
      if (!structure.labels || structure.labels.series_id !== shown?.view.series_id) continue;
      const volume = this.labelVolume(structure.labels);
      if (!volume) continue;
      const layer = layers.get(structure.labels.sha256) ?? { volume, styles: new Map<number, LabelStyle>() };
      if (look.visible) layer.styles.set(structure.label, { colour: look.colour ?? structure.colour, opacity: look.opacity });
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

// What the panes show, shared by all of them and by the 3D scene.
import { batch, computed, signal } from '@preact/signals';
import { centreLps, clampIjk, ijkToLps, lpsToIjk, type Orientation, type PaneView, type Vec3 } from './geometry';
import { carry, type Fusion, type Side } from './fusion';
import type { Window } from './presets';
import type { ViewVolume } from './volume';

export type Tool = 'crosshair' | 'window' | 'pan' | 'zoom';

/** One structure of a label volume, as the overlay draws it. */
export interface LabelStyle {
  colour: string;
  opacity: number;
  /** What it is called. */
  name: string;
  /** What is written on it in the slices, empty for nothing. */
  mark: string;
}

export interface LabelLayer {
  volume: ViewVolume;
  /** The scan that these labels were found in, and whose grid they have. */
  side: Side;
  styles: ReadonlyMap<number, LabelStyle>;
}

/** A machine without a graphics card may draw for long; a display that cannot draw says so (case/page.tsx). */
const patienceMs = 30000;
/** HU; what a drag across a CT's values is scaled by. */
export const ctSpan = 2000;

type Views = Partial<Record<Orientation, PaneView>>;

function mapViews(views: Views, change: (view: PaneView) => PaneView): Views {
  return Object.fromEntries(Object.entries(views).map(([orientation, view]) => [orientation, change(view)]));
}

export class ViewState {
  readonly volume = signal<ViewVolume | null>(null);
  readonly cursor = signal<Vec3>([0, 0, 0]);
  readonly window = signal<Window>({ centre: 0, width: 1000 });
  readonly tool = signal<Tool>('crosshair');
  readonly crosshair = signal(true);
  readonly overlayOpacity = signal(0.3);
  readonly layers = signal<readonly LabelLayer[]>([]);
  readonly views = signal<Views>({});
  /** The second scan, null outside of the fused view. */
  readonly fusion = signal<Fusion | null>(null);
  /** Both scans have panes of their own, with one cursor and one view per orientation. */
  readonly beside = computed(() => this.fusion.value?.mode === 'beside' && this.fusion.value.only === null);
  readonly units = signal<'HU' | '1'>('1');
  readonly span = signal(1000);
  /** The first picture is on the screen, or none will come: from now on the line is free for detail, labels and surfaces. */
  readonly pictured = signal(false);
  /** Raised to make the panes fit the volume again. */
  readonly fits = signal(0);

  /** Moves the crosshair, kept inside the volume. */
  moveTo(lps: Vec3): void {
    const volume = this.volume.value;
    if (!volume) return;
    this.cursor.value = ijkToLps(volume.grid, clampIjk(volume.grid, lpsToIjk(volume.grid, lps)));
  }

  /**
   * Shows another volume. `tie` takes points of the one before to this one (LPS mm), null when nothing does; with `keepViews`
   * the panes go on looking at the same part of the patient.
   */
  open(volume: ViewVolume, tie: number[][] | null, keepViews = false): void {
    const [cursor, views] = [this.cursor.value, this.views.value];
    batch(() => {
      this.volume.value = volume;
      if (tie) this.moveTo(carry(tie, cursor));
      else this.cursor.value = centreLps(volume.grid);
      this.views.value = tie && keepViews ? mapViews(views, (view) => ({ ...view, centre: carry(tie, view.centre) })) : {};
      if (!tie || !keepViews) this.fits.value += 1;
    });
  }

  /** The scan whose brightness and contrast a pane of that side changes: the one that is seen in it. */
  windowSide(side: Side): Side {
    return this.fusion.value && (side === 'second' || this.fusion.value.only === 'second') ? 'second' : 'first';
  }

  windowOf(side: Side): Window {
    return side === 'second' && this.fusion.value ? this.fusion.value.window : this.window.value;
  }

  setWindow(side: Side, window: Window): void {
    if (side === 'second') this.fuse({ window });
    else this.window.value = window;
  }

  /** How far values of a scan spread, for the step of a drag. */
  spanOf(side: Side): number {
    const fusion = this.fusion.value;
    if (side === 'first' || !fusion) return this.span.value;
    return fusion.units === 'HU' ? ctSpan : fusion.range[1] - fusion.range[0];
  }

  /** Resolves with the first picture, or after a while without one, so that nothing waits for a broken display. */
  afterPicture(): Promise<void> {
    return new Promise((resolve) => {
      const late = setTimeout(done, patienceMs);
      const off = this.pictured.subscribe((now) => {
        if (now) done();
      });
      function done(): void {
        clearTimeout(late);
        resolve();
        queueMicrotask(() => off());
      }
    });
  }

  fuse(change: Partial<Fusion>): void {
    if (this.fusion.value) this.fusion.value = { ...this.fusion.value, ...change };
  }

  setView(orientation: Orientation, view: PaneView): void {
    this.views.value = { ...this.views.value, [orientation]: view };
  }
}

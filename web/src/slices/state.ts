// What the panes show, shared by all of them and by the 3D scene.
import { signal } from '@preact/signals';
import { centreLps, clampIjk, ijkToLps, lpsToIjk, type Orientation, type PaneView, type Vec3 } from './geometry';
import type { Fusion } from './fusion';
import type { Window } from './presets';
import type { ViewVolume } from './volume';

export type Tool = 'crosshair' | 'window' | 'pan' | 'zoom';

/** One structure of a label volume, as the overlay draws it. */
export interface LabelStyle {
  colour: string;
  opacity: number;
}

export interface LabelLayer {
  volume: ViewVolume;
  styles: ReadonlyMap<number, LabelStyle>;
}

const patienceMs = 6000;

export class ViewState {
  readonly volume = signal<ViewVolume | null>(null);
  readonly cursor = signal<Vec3>([0, 0, 0]);
  readonly window = signal<Window>({ centre: 0, width: 1000 });
  readonly tool = signal<Tool>('crosshair');
  readonly crosshair = signal(true);
  readonly overlayOpacity = signal(0.3);
  readonly layers = signal<readonly LabelLayer[]>([]);
  readonly views = signal<Partial<Record<Orientation, PaneView>>>({});
  /** The second scan, null outside of the fused view. */
  readonly fusion = signal<Fusion | null>(null);
  readonly units = signal<'HU' | '1'>('1');
  readonly span = signal(1000);
  /** The first picture is on the screen: from now on the line is free for detail, labels and surfaces. */
  readonly pictured = signal(false);
  /** Raised to make the panes fit the volume again. */
  readonly fits = signal(0);

  /** Moves the crosshair, kept inside the volume. */
  moveTo(lps: Vec3): void {
    const volume = this.volume.value;
    if (!volume) return;
    this.cursor.value = ijkToLps(volume.grid, clampIjk(volume.grid, lpsToIjk(volume.grid, lps)));
  }

  open(volume: ViewVolume, keepCursor: boolean): void {
    this.volume.value = volume;
    if (keepCursor) this.moveTo(this.cursor.value);
    else this.cursor.value = centreLps(volume.grid);
    this.views.value = {};
    this.fits.value += 1;
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

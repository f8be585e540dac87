// The panes together: takes state and pointer moves, tells the renderer where to look, draws overlays. Everything is
// drawn at most once per frame.
import { effect } from '@preact/signals';
import { figure } from '../ui/format';
import { carry, drawFusion, fusionFor, labelSides, type Side } from './fusion';
import {
  fitView, letters, opposite, orientations, planeOf, sliceAt, snapped, toPatient, type Orientation, type PaneView, type Plane,
  type Size, type Vec3,
} from './geometry';
import { centredOn, drawCrosshair, drawScaleBar, isOutOfSight, LabelPainter } from './overlay';
import type { SliceRenderer } from './renderer';
import type { LabelLayer, ViewState } from './state';
import { ViewVolume } from './volume';

/** A pane shows the first scan, or the second one in the same plane of the patient. */
export type PaneId = Orientation | `${Orientation}-second`;

export const paneId = (orientation: Orientation, side: Side): PaneId => (side === 'first' ? orientation : `${orientation}-second`);

/** The elements of one pane; texts are written straight into them, many times a second. */
export interface PaneElements {
  host: HTMLDivElement;
  overlay: HTMLCanvasElement;
  slice: HTMLElement;
  place: HTMLElement;
  value: HTMLElement;
  /** The names of the labels at the same point. */
  label: HTMLElement;
  edges: Record<'left' | 'right' | 'top' | 'bottom', HTMLElement>;
  /** Where the pointer is in the pane beside this one. */
  echo: HTMLElement;
  /** What takes the focus: tells its slice to those who hear it. */
  slider: HTMLElement;
}

/** By patient axis, for positive and negative millimetres. */
const directions = [['left', 'right'], ['posterior', 'anterior'], ['superior', 'inferior']];

interface Pane {
  orientation: Orientation;
  side: Side;
  elements: PaneElements;
  painter: LabelPainter;
  size: Size;
  /** The last size in which it was visible. */
  shown: Size | null;
  hover: [number, number] | null;
}

export class Stage {
  private readonly panes = new Map<PaneId, Pane>();
  private renderer: SliceRenderer | null = null;
  private shown: ViewVolume | null = null;
  private ready = false;
  private sending = false;
  private readonly scratch = document.createElement('canvas');
  private frame = 0;
  private closed = false;
  private readonly ends: (() => void)[] = [];
  /** Called once when the first picture of a volume is on the screen. */
  onFirstPicture: () => void = () => undefined;

  constructor(readonly state: ViewState) {}

  attach(orientation: Orientation, side: Side, elements: PaneElements): void {
    const size = { width: elements.host.clientWidth, height: elements.host.clientHeight };
    const pane = { orientation, side, elements, painter: new LabelPainter(), size, shown: size.width > 1 ? size : null, hover: null };
    this.panes.set(paneId(orientation, side), pane);
  }

  /** Starts when all panes are attached. */
  async start(): Promise<void> {
    const { SliceRenderer } = await import('./renderer');
    const renderer = await SliceRenderer.create();
    if (this.closed) {
      renderer.destroy();
      return;
    }
    this.renderer = renderer;
    for (const pane of this.firstPanes()) renderer.addPane(pane.orientation, pane.elements.host);
    const resized = new ResizeObserver(() => this.resize());
    for (const pane of this.panes.values()) resized.observe(pane.elements.host);
    this.ends.push(() => resized.disconnect(), ...this.watch());
  }

  private watch(): (() => void)[] {
    const { state } = this;
    return [
      effect(() => this.show(state.volume.value)),
      effect(() => {
        this.renderer?.setWindow(state.window.value);
        this.redraw();
      }),
      effect(() => {
        const volume = state.volume.value;
        const cursor = state.cursor.value;
        if (!volume) return;
        volume.lookAt(sliceAt(volume.grid, { ...planeOf(volume.grid, 'axial'), axis: 2 }, cursor));
        this.keepInSight(cursor);
        this.redraw();
      }),
      effect(() => {
        void [state.views.value, state.crosshair.value, state.overlayOpacity.value, state.layers.value, state.fusion.value];
        this.redraw();
      }),
      effect(() => {
        void state.fits.value;
        this.fit();
      }),
    ];
  }

  private show(volume: ViewVolume | null): void {
    if (!this.renderer || volume === this.shown) return;
    this.shown = volume;
    this.ready = false;
    void this.send();
  }

  /**
   * Brings the shown volume into graphics memory. One at a time: the renderer drops the volume before, which it must not do while
   * textures of that are being made. What is asked for meanwhile comes next, the last alone.
   */
  private async send(): Promise<void> {
    if (this.sending) return;
    this.sending = true;
    try {
      for (let volume = this.wanted(); volume && this.renderer; volume = this.wanted()) {
        await this.renderer.setVolume(volume, this.state.window.peek());
        if (volume === this.wanted()) this.sent(volume);
      }
    } catch (cause) {
      // A page that is left takes the context along with what was under way in it.
      if (!this.closed) throw cause;
    } finally {
      this.sending = false;
    }
  }

  /** The volume whose picture is still to come: shown, and with something to show. */
  private wanted(): ViewVolume | null {
    return !this.closed && !this.ready && this.shown?.detail.some((d) => d > 0) ? this.shown : null;
  }

  private sent(volume: ViewVolume): void {
    this.ready = true;
    this.renderer?.setWindow(this.state.window.peek());
    // Parts that came while the textures were made are sent with everything else, once.
    this.renderer?.slicesChanged(0, volume.grid.dim[2]);
    if (Object.keys(this.state.views.peek()).length === 0) this.fit();
    this.redraw();
    requestAnimationFrame(() => this.onFirstPicture());
  }

  /** Voxels of the volume or of a layer arrived. */
  slicesArrived(volume: ViewVolume, k0: number, k1: number): void {
    if (volume !== this.shown) {
      for (const pane of this.panes.values()) pane.painter.version++;
      this.redraw();
      return;
    }
    if (!this.ready) {
      void this.send();
      return;
    }
    this.renderer?.slicesChanged(k0, k1);
    this.redraw();
  }

  planes(): Plane[] {
    const volume = this.state.volume.peek();
    return volume ? orientations.map((o) => planeOf(volume.grid, o)) : [];
  }

  private plane(orientation: Orientation): Plane | null {
    const volume = this.state.volume.peek();
    return volume ? planeOf(volume.grid, orientation) : null;
  }

  /** Those of the first scan: they alone set the views, which the panes beside them share. */
  private firstPanes(): Pane[] {
    return [...this.panes.values()].filter((pane) => pane.side === 'first');
  }

  view(orientation: Orientation): PaneView | null {
    return this.state.views.peek()[orientation] ?? null;
  }

  size(pane: PaneId): Size {
    return this.panes.get(pane)?.size ?? { width: 1, height: 1 };
  }

  private fit(): void {
    const volume = this.state.volume.peek();
    if (!volume) return;
    const views: Partial<Record<Orientation, PaneView>> = {};
    for (const { orientation, size } of this.firstPanes()) {
      if (size.width > 1) views[orientation] = fitView(volume.grid, planeOf(volume.grid, orientation), size);
    }
    // All panes at one scale, the smallest that shows everything: lengths compare across them.
    const mmPerPx = Math.max(...Object.values(views).map((view) => view.mmPerPx));
    for (const view of Object.values(views)) view.mmPerPx = mmPerPx;
    this.state.views.value = views;
  }

  private keepInSight(cursor: Vec3): void {
    const views = { ...this.state.views.peek() };
    let moved = false;
    for (const { orientation, size } of this.firstPanes()) {
      const plane = this.plane(orientation);
      const view = views[orientation];
      if (!plane || !view || size.width < 2 || !isOutOfSight(plane, view, size, cursor)) continue;
      views[orientation] = centredOn(view, cursor);
      moved = true;
    }
    if (moved) this.state.views.value = views;
  }

  private resize(): void {
    let grown = false;
    const views = { ...this.state.views.peek() };
    for (const pane of this.panes.values()) {
      const { orientation } = pane;
      const { clientWidth: width, clientHeight: height } = pane.elements.host;
      const before = pane.shown;
      if (width === pane.size.width && height === pane.size.height) continue;
      if (pane.size.width < 2 && width > 2) grown = true;
      pane.size = { width, height };
      if (width < 2) continue;
      // A pane that grows shows the same part of the patient, larger.
      const view = views[orientation];
      if (view && before && pane.side === 'first') {
        const by = Math.min(before.width, before.height) / Math.min(width, height);
        views[orientation] = { ...view, mmPerPx: view.mmPerPx * by };
      }
      pane.shown = pane.size;
    }
    this.state.views.value = views;
    this.renderer?.resize();
    const missing = this.firstPanes().some((pane) => pane.size.width > 1 && !this.state.views.peek()[pane.orientation]);
    if (grown && missing && this.state.volume.peek()) this.fit();
    this.redraw();
  }

  redraw(): void {
    if (this.frame || this.closed) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      for (const id of this.panes.keys()) this.draw(id);
    });
  }

  private draw(id: PaneId): void {
    const pane = this.panes.get(id);
    const volume = this.state.volume.peek();
    if (!pane || !volume || pane.size.width < 2) return;
    const { orientation } = pane;
    const view = this.view(orientation);
    if (!view) return;
    const plane = planeOf(volume.grid, orientation);
    const focus = snapped(volume.grid, plane, this.state.cursor.peek());
    if (this.ready && pane.side === 'first') {
      this.renderer?.setCamera(orientation, plane, view, pane.size, focus);
      this.renderer?.render(orientation);
    }
    this.drawOverlay(pane, plane, view, focus);
    this.writeTexts(pane, plane, view, volume, focus);
  }

  private drawOverlay(pane: Pane, plane: Plane, view: PaneView, focus: Vec3): void {
    const { overlay } = pane.elements;
    const scale = devicePixelRatio || 1;
    const [width, height] = [Math.round(pane.size.width * scale), Math.round(pane.size.height * scale)];
    if (overlay.width !== width || overlay.height !== height) {
      overlay.width = width;
      overlay.height = height;
    }
    const context = overlay.getContext('2d');
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.scale(scale, scale);
    const { state } = this;
    const fusion = fusionFor(state.fusion.peek(), pane.side);
    if (fusion) drawFusion(context, fusion, plane, view, pane.size, focus, this.scratch);
    pane.painter.draw(context, this.layersIn(pane), state.fusion.peek()?.tie ?? null, plane, view, pane.size, focus, state.overlayOpacity.peek());
    if (state.crosshair.peek()) drawCrosshair(context, this.planes(), plane, view, pane.size, state.cursor.peek());
    drawScaleBar(context, view, pane.size);
  }

  /** The labels that a pane draws. */
  private layersIn(pane: Pane): LabelLayer[] {
    const sides = labelSides(this.state.fusion.peek(), pane.side);
    return this.state.layers.peek().filter((layer) => sides.includes(layer.side));
  }

  private writeTexts(pane: Pane, plane: Plane, view: PaneView, volume: ViewVolume, focus: Vec3): void {
    const { elements } = pane;
    const slice = sliceAt(volume.grid, plane, focus);
    const along = plane.orientation === 'axial' ? 2 : plane.orientation === 'coronal' ? 1 : 0;
    const direction = directions[along][focus[along] < 0 ? 1 : 0];
    const [last, mm] = [volume.grid.dim[plane.axis], `${figure(Math.abs(focus[along]))} mm`];
    elements.slice.textContent = `${slice + 1} / ${last}`;
    elements.place.textContent = `${direction.charAt(0).toUpperCase()} ${mm}`;
    this.tellSlice(elements.slider, slice + 1, last, `slice ${slice + 1} of ${last}, ${mm} ${direction}`);
    elements.edges.right.textContent = letters(plane.right);
    elements.edges.left.textContent = letters(opposite(plane.right));
    elements.edges.bottom.textContent = letters(plane.down);
    elements.edges.top.textContent = letters(opposite(plane.down));
    const at = pane.hover ? toPatient(plane, view, pane.size, pane.hover, focus) : this.state.cursor.peek();
    const found = volume.valueAt(at);
    const own = found === null ? '' : this.valueText(found.value, found.exact, this.state.units.peek());
    elements.label.textContent = this.namesAt(this.layersIn(pane), at);
    const fusion = this.state.fusion.peek();
    const other = fusion?.volume.valueAt(carry(fusion.tie, at)) ?? null;
    const second = fusion && other ? this.valueText(other.value, other.exact, fusion.units) : '';
    if (this.state.beside.peek()) elements.value.textContent = pane.side === 'first' ? own : second;
    else elements.value.textContent = second ? `${own} · 2nd ${second}` : own;
  }

  /** Only what is new: a screen reader says it each time. */
  private tellSlice(slider: HTMLElement, now: number, most: number, words: string): void {
    if (slider.getAttribute('aria-valuetext') === words) return;
    slider.setAttribute('aria-valuemax', String(most));
    slider.setAttribute('aria-valuenow', String(now));
    slider.setAttribute('aria-valuetext', words);
  }

  /** What the labels say of a point: those that are drawn. */
  private namesAt(layers: readonly LabelLayer[], lps: Vec3): string {
    const tie = this.state.fusion.peek()?.tie;
    const names = layers.flatMap(({ volume, styles, side }) => {
      const at = side === 'second' && tie ? carry(tie, lps) : lps;
      return styles.get(volume.valueAt(at)?.value ?? 0)?.name ?? [];
    });
    return [...new Set(names)].join(', ');
  }

  private valueText(value: number, exact: boolean, units: 'HU' | '1'): string {
    const number = Number.isInteger(value) ? figure(value, 0) : figure(value, 2);
    return `${exact ? '' : '≈ '}${number}${units === 'HU' ? ' HU' : ''}`;
  }

  /** The pointer is over a pane, or has left it; a pane beside it marks the same point and reads its own scan there. */
  hover(id: PaneId, px: [number, number] | null): void {
    const pane = this.panes.get(id);
    if (!pane) return;
    this.point(pane, px, false);
    const twin = this.panes.get(paneId(pane.orientation, pane.side === 'first' ? 'second' : 'first'));
    if (!twin) return;
    // Both show the same view from their middles, and may differ in size by a pixel.
    const there = px && this.state.beside.peek()
      ? [px[0] + (twin.size.width - pane.size.width) / 2, px[1] + (twin.size.height - pane.size.height) / 2] as [number, number] : null;
    this.point(twin, there, there !== null);
  }

  private point(pane: Pane, px: [number, number] | null, echo: boolean): void {
    pane.hover = px;
    const mark = pane.elements.echo;
    mark.hidden = !echo;
    if (px && echo) mark.style.transform = `translate(${px[0]}px, ${px[1]}px)`;
    const volume = this.state.volume.peek();
    const view = this.view(pane.orientation);
    const plane = this.plane(pane.orientation);
    if (volume && view && plane) this.writeTexts(pane, plane, view, volume, snapped(volume.grid, plane, this.state.cursor.peek()));
  }

  close(): void {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    for (const end of this.ends) end();
    this.renderer?.destroy();
    this.renderer = null;
  }
}

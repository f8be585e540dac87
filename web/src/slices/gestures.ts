// Pointer, wheel and touch on a slice pane, turned into moves of the shared state.
import {
  add, onSlice, planeOf, sliceAt, snapped, toPatient, type Orientation, type PaneView, type Plane, type Vec3,
} from './geometry';
import { dragWindow, type Window } from './presets';
import type { Side } from './fusion';
import { paneId, type PaneId, type Stage } from './stage';
import type { Tool } from './state';

type Action = Tool | 'scroll';

interface Drag {
  action: Action;
  from: [number, number];
  last: [number, number];
  window: Window;
  view: PaneView;
  moved: boolean;
  rest: number;
}

const zoomStep = 1.0016;

export class Gestures {
  private readonly pointers = new Map<number, [number, number]>();
  private drag: Drag | null = null;
  private wheelRest = 0;
  /** Where the crosshair was before the last two presses: a double click is no wish to move it. */
  private before: Vec3[] = [];

  private readonly pane: PaneId;

  constructor(private readonly stage: Stage, private readonly orientation: Orientation, private readonly side: Side,
    private readonly element: HTMLElement) {
    this.pane = paneId(orientation, side);
    const listen = <K extends keyof HTMLElementEventMap>(type: K, run: (event: HTMLElementEventMap[K]) => void) =>
      element.addEventListener(type, run as EventListener, { passive: false });
    listen('pointerdown', (event) => this.down(event));
    listen('pointermove', (event) => this.move(event));
    listen('pointerup', (event) => this.up(event));
    listen('pointercancel', (event) => this.up(event));
    listen('pointerleave', () => this.stage.hover(this.pane, null));
    listen('wheel', (event) => this.wheel(event));
    listen('dblclick', () => {
      if (this.before.length === 2) this.stage.state.moveTo(this.before[1]);
    });
    listen('contextmenu', (event) => event.preventDefault());
  }

  private at(event: MouseEvent): [number, number] {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  private windowSide(): Side {
    return this.stage.state.windowSide(this.side);
  }

  private plane(): Plane | null {
    const volume = this.stage.state.volume.peek();
    return volume ? planeOf(volume.grid, this.orientation) : null;
  }

  private actionOf(event: PointerEvent): Action {
    if (event.pointerType === 'touch') return 'scroll';
    if (event.button === 2) return 'window';
    if (event.button === 1 || event.shiftKey) return 'pan';
    return event.ctrlKey || event.metaKey ? 'zoom' : this.stage.state.tool.peek();
  }

  private down(event: PointerEvent): void {
    const view = this.stage.view(this.orientation);
    if (!view) return;
    this.element.focus({ preventScroll: true });
    event.preventDefault();
    this.element.setPointerCapture(event.pointerId);
    const px = this.at(event);
    this.pointers.set(event.pointerId, px);
    this.drag = {
      action: this.actionOf(event), from: px, last: px, window: this.stage.state.windowOf(this.windowSide()), view, moved: false, rest: 0,
    };
    this.before = [this.stage.state.cursor.peek(), ...this.before].slice(0, 2);
    if (this.drag.action === 'crosshair') this.pick(px);
  }

  private move(event: PointerEvent): void {
    const px = this.at(event);
    if (!this.pointers.has(event.pointerId)) {
      this.stage.hover(this.pane, px);
      return;
    }
    if (this.pointers.size === 2) {
      this.pinch(event.pointerId, px);
      return;
    }
    this.pointers.set(event.pointerId, px);
    const drag = this.drag;
    if (!drag) return;
    if (Math.hypot(px[0] - drag.from[0], px[1] - drag.from[1]) > 6) drag.moved = true;
    this.apply(drag, px);
    drag.last = px;
    this.stage.hover(this.pane, px);
  }

  private apply(drag: Drag, px: [number, number]): void {
    const { state } = this.stage;
    const [dx, dy] = [px[0] - drag.from[0], px[1] - drag.from[1]];
    switch (drag.action) {
      case 'crosshair': this.pick(px); break;
      case 'window': state.setWindow(this.windowSide(), dragWindow(drag.window, dx, dy, state.spanOf(this.windowSide()))); break;
      case 'pan': this.shift(drag.view, dx, dy); break;
      case 'zoom': this.zoom(drag.view, drag.from, Math.pow(zoomStep, dy * 3)); break;
      case 'scroll': {
        if (!drag.moved) break;
        drag.rest += (px[1] - drag.last[1]) / 7;
        const steps = Math.trunc(drag.rest);
        drag.rest -= steps;
        if (steps !== 0) this.scroll(steps);
        break;
      }
    }
  }

  private up(event: PointerEvent): void {
    const drag = this.drag;
    const wasTap = drag !== null && drag.action === 'scroll' && !drag.moved && this.pointers.size === 1;
    const px = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (wasTap && px && event.type === 'pointerup') this.pick(px);
    if (this.pointers.size === 0) this.drag = null;
  }

  private pick(px: [number, number]): void {
    const volume = this.stage.state.volume.peek();
    const plane = this.plane();
    const view = this.stage.view(this.orientation);
    if (!volume || !plane || !view) return;
    const focus = snapped(volume.grid, plane, this.stage.state.cursor.peek());
    this.stage.state.moveTo(toPatient(plane, view, this.stage.size(this.pane), px, focus));
  }

  /** By whole slices; positive is onward in the direction of growing slice numbers. */
  scroll(steps: number): void {
    const volume = this.stage.state.volume.peek();
    const plane = this.plane();
    if (!volume || !plane) return;
    const cursor = this.stage.state.cursor.peek();
    const index = Math.min(volume.grid.dim[plane.axis] - 1, Math.max(0, sliceAt(volume.grid, plane, cursor) + steps));
    this.stage.state.moveTo(onSlice(volume.grid, plane, cursor, index));
  }

  private shift(view: PaneView, dx: number, dy: number): void {
    const plane = this.plane();
    if (!plane) return;
    const centre = add(add(view.centre, plane.right, -dx * view.mmPerPx), plane.down, -dy * view.mmPerPx);
    this.stage.state.setView(this.orientation, { ...view, centre });
  }

  /** Zooms so that the point under `px` stays where it is. */
  zoom(view: PaneView, px: [number, number], by: number): void {
    const plane = this.plane();
    if (!plane) return;
    const size = this.stage.size(this.pane);
    const mmPerPx = Math.min(5, Math.max(0.01, view.mmPerPx * by));
    const change = view.mmPerPx - mmPerPx;
    const centre: Vec3 = add(
      add(view.centre, plane.right, (px[0] - size.width / 2) * change), plane.down, (px[1] - size.height / 2) * change,
    );
    this.stage.state.setView(this.orientation, { centre, mmPerPx });
  }

  private pinch(id: number, px: [number, number]): void {
    const view = this.stage.view(this.orientation);
    const before = [...this.pointers.values()];
    this.pointers.set(id, px);
    const after = [...this.pointers.values()];
    if (!view) return;
    const middle = (p: [number, number][]): [number, number] => [(p[0][0] + p[1][0]) / 2, (p[0][1] + p[1][1]) / 2];
    const spread = (p: [number, number][]) => Math.max(10, Math.hypot(p[0][0] - p[1][0], p[0][1] - p[1][1]));
    const [from, to] = [middle(before), middle(after)];
    this.shift(view, to[0] - from[0], to[1] - from[1]);
    const moved = this.stage.view(this.orientation);
    if (moved) this.zoom(moved, to, spread(before) / spread(after));
    if (this.drag) this.drag.moved = true;
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const view = this.stage.view(this.orientation);
    if (!view) return;
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 40 : event.deltaY;
    if (event.ctrlKey || event.metaKey) {
      this.zoom(view, this.at(event), Math.pow(1.1, Math.max(-4, Math.min(4, lines))));
      return;
    }
    // A notch of a wheel is one slice; a touch pad's small steps add up.
    this.wheelRest += Math.abs(lines) >= 1 ? Math.sign(lines) : lines;
    const steps = Math.trunc(this.wheelRest);
    this.wheelRest -= steps;
    if (steps !== 0) this.scroll(steps);
  }
}

// What is drawn over the grey picture of a pane: labels, the crosshair and the scale bar. Plain 2D canvas; every voxel of
// a label is drawn where it is, never smoothed.
import {
  add, axisOf, dot, ijkToLps, lpsToIjk, planeOf, scaleBar, sliceAt, toScreen, type Orientation, type PaneView, type Plane,
  type Size, type Vec3,
} from './geometry';
import { cutLabels, stepOf } from './fusion';
import type { LabelLayer } from './state';

export const planeColours: Record<Orientation, string> = { axial: '#f0875a', coronal: '#3fbf95', sagittal: '#5cb3ec' };

function rgb(hex: string): [number, number, number] {
  const value = /^#[0-9a-f]{6}$/i.test(hex) ? parseInt(hex.slice(1), 16) : 0xe8dcc0;
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Which two indices run across the picture, with their strides. */
function inPlane(dim: readonly number[], axis: number): { u: number; v: number; strides: [number, number, number] } {
  const [u, v] = [0, 1, 2].filter((a) => a !== axis);
  return { u, v, strides: [1, dim[0], dim[0] * dim[1]] };
}

/** One slice of labels as RGBA: interior at the overlay's opacity, the outline at full strength. */
export function paintLabels(
  voxels: ArrayLike<number>, dim: readonly number[], axis: number, index: number, layer: LabelLayer['styles'],
  opacity: number, out: Uint8ClampedArray,
): void {
  const { u, v, strides } = inPlane(dim, axis);
  const [width, height] = [dim[u], dim[v]];
  const table = new Map([...layer].map(([label, style]) => [label, { colour: rgb(style.colour), opacity: style.opacity }]));
  const base = index * strides[axis];
  const at = (x: number, y: number) =>
    x < 0 || y < 0 || x >= width || y >= height ? -1 : voxels[base + x * strides[u] + y * strides[v]];
  out.fill(0);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const label = at(x, y);
      const style = label > 0 ? table.get(label) : undefined;
      if (!style) continue;
      const edge = at(x - 1, y) !== label || at(x + 1, y) !== label || at(x, y - 1) !== label || at(x, y + 1) !== label;
      const to = (y * width + x) * 4;
      [out[to], out[to + 1], out[to + 2]] = style.colour;
      out[to + 3] = 255 * style.opacity * (edge ? Math.min(1, opacity * 1.5 + 0.35) : opacity);
    }
  }
}

/** A text, the middle of the thickest part of its label in a slice, and how wide that is; all in voxels. */
export interface Mark {
  text: string;
  at: [number, number];
  side: number;
}

/**
 * The marks of one slice, each in the middle of the largest square that fits into its label: in a vertebra that is the body, in
 * whatever direction it is cut. The side of the square that ends at a voxel is one more than the least of its three neighbours'.
 */
export function marksOf(voxels: ArrayLike<number>, dim: readonly number[], axis: number, index: number, layer: LabelLayer['styles']): Mark[] {
  const { u, v, strides } = inPlane(dim, axis);
  const best = new Map<number, Mark>();
  for (const [label, { mark }] of layer) if (mark) best.set(label, { text: mark, at: [0, 0], side: 0 });
  if (best.size === 0) return [];
  let above = new Uint16Array(dim[u]);
  let row = new Uint16Array(dim[u]);
  for (let y = 0; y < dim[v]; y++) {
    const from = index * strides[axis] + y * strides[v];
    for (let x = 0; x < dim[u]; x++) {
      const at = from + x * strides[u];
      const mark = voxels[at] === 0 ? undefined : best.get(voxels[at]);
      row[x] = 0;
      if (!mark) continue;
      const same = x > 0 && y > 0 && voxels[at - strides[u]] === voxels[at] && voxels[at - strides[v]] === voxels[at]
        && voxels[at - strides[u] - strides[v]] === voxels[at];
      row[x] = 1 + (same ? Math.min(row[x - 1], above[x], above[x - 1]) : 0);
      if (row[x] > mark.side) Object.assign(mark, { side: row[x], at: [x - (row[x] - 1) / 2, y - (row[x] - 1) / 2] });
    }
    [above, row] = [row, above];
  }
  return [...best.values()].filter((mark) => mark.side > 0);
}

interface Painted {
  canvas: HTMLCanvasElement;
  marks: Mark[];
  stamp: string;
}

/** Keeps the painted slice of each layer until the slice, the styles or the voxels change. */
export class LabelPainter {
  private readonly cache = new Map<LabelLayer['volume'], Painted>();
  /** Raised when voxels arrived. */
  version = 0;

  /** `tie`: LPS mm of the first scan, whose planes these are, → the second one. */
  draw(context: CanvasRenderingContext2D, layers: readonly LabelLayer[], tie: number[][] | null, plane: Plane, view: PaneView, size: Size,
    focus: Vec3, opacity: number): void {
    for (const layer of layers) {
      if (layer.styles.size === 0 || opacity <= 0) continue;
      if (layer.side === 'first') this.drawLayer(context, layer, plane, view, size, focus, opacity);
      else if (tie) this.drawCut(context, layer, tie, plane, view, size, focus, opacity);
    }
    for (const volume of this.cache.keys()) if (!layers.some((l) => l.volume === volume)) this.cache.delete(volume);
  }

  private painted(layer: LabelLayer, axis: number, index: number, opacity: number): Painted {
    const { grid } = layer.volume;
    return this.kept(layer, `${axis}/${index}`, opacity, () => ({ voxels: layer.volume.voxels, dim: grid.dim, axis, index }));
  }

  /** The painted slice that `where` names, from the cache or from what `cut` gives. */
  private kept(layer: LabelLayer, where: string, opacity: number,
    cut: () => { voxels: ArrayLike<number>; dim: readonly number[]; axis: number; index: number }): Painted {
    const styles = [...layer.styles].map(([label, s]) => `${label}${s.colour}${s.opacity}${s.mark}`).join();
    const stamp = `${where}/${opacity}/${this.version}/${styles}`;
    const known = this.cache.get(layer.volume);
    if (known?.stamp === stamp) return known;
    const { voxels, dim, axis, index } = cut();
    const { u, v } = inPlane(dim, axis);
    const canvas = known?.canvas ?? document.createElement('canvas');
    canvas.width = dim[u];
    canvas.height = dim[v];
    const image = new ImageData(dim[u], dim[v]);
    paintLabels(voxels, dim, axis, index, layer.styles, opacity, image.data);
    canvas.getContext('2d')?.putImageData(image, 0, 0);
    const painted = { canvas, stamp, marks: marksOf(voxels, dim, axis, index, layer.styles) };
    this.cache.set(layer.volume, painted);
    return painted;
  }

  /** Labels of the second scan: its grid stands askew in these planes, so they are cut pixel by pixel, as its picture is. */
  private drawCut(context: CanvasRenderingContext2D, layer: LabelLayer, tie: number[][], plane: Plane, view: PaneView, size: Size,
    focus: Vec3, opacity: number): void {
    const where = [plane.right, plane.down, view.centre, focus, tie].flat(2).concat(view.mmPerPx, size.width, size.height).join();
    const { canvas, marks } = this.kept(layer, where, opacity, () => {
      const { labels, width, height } = cutLabels(layer.volume, tie, plane, view, size, focus);
      return { voxels: labels, dim: [width, height, 1], axis: 2, index: 0 };
    });
    const step = stepOf(size);
    context.save();
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, 0, 0, canvas.width * step, canvas.height * step);
    context.restore();
    for (const { text, at, side } of marks) if (side * step >= roomPx) drawMark(context, text, (at[0] + 0.5) * step, (at[1] + 0.5) * step);
  }

  private drawLayer(context: CanvasRenderingContext2D, layer: LabelLayer, plane: Plane, view: PaneView, size: Size, focus: Vec3,
    opacity: number): void {
    const { grid } = layer.volume;
    const own = planeOf(grid, plane.orientation);
    const index = sliceAt(grid, own, focus);
    const distance = Math.abs(lpsToIjk(grid, focus)[own.axis] - index);
    if (distance > 0.51) return;
    const { canvas: picture, marks } = this.painted(layer, own.axis, index, opacity);
    const { u, v } = inPlane(grid.dim, own.axis);
    const corner: Vec3 = [0, 0, 0];
    corner[own.axis] = index;
    corner[u] = -0.5;
    corner[v] = -0.5;
    const [x, y] = toScreen(plane, view, size, ijkToLps(grid, corner));
    const step = (axis: number) => axisOf(grid, axis).map((c) => (c * grid.spacing_mm[axis]) / view.mmPerPx) as Vec3;
    const [du, dv] = [step(u), step(v)];
    context.save();
    context.imageSmoothingEnabled = false;
    context.transform(dot(du, plane.right), dot(du, plane.down), dot(dv, plane.right), dot(dv, plane.down), x, y);
    context.drawImage(picture, 0, 0);
    context.restore();
    for (const { text, at, side } of marks) {
      if (side * Math.min(Math.hypot(...du), Math.hypot(...dv)) < roomPx) continue;
      const along = (direction: Vec3) => (at[0] + 0.5) * dot(du, direction) + (at[1] + 0.5) * dot(dv, direction);
      drawMark(context, text, x + along(plane.right), y + along(plane.down));
    }
  }
}

/** A mark needs about as much room as its letters are high. */
const roomPx = 9;

function drawMark(context: CanvasRenderingContext2D, text: string, x: number, y: number): void {
  context.font = '600 11px system-ui, sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineWidth = 3;
  context.lineJoin = 'round';
  context.strokeStyle = 'rgb(0 0 0 / 80%)';
  context.strokeText(text, x, y);
  context.fillStyle = '#ffffff';
  context.fillText(text, x, y);
  context.textBaseline = 'alphabetic';
}

/** The two lines where the other planes cut this one, broken around the point so that it stays visible. */
export function drawCrosshair(context: CanvasRenderingContext2D, planes: readonly Plane[], plane: Plane, view: PaneView, size: Size,
  cursor: Vec3): void {
  const [x, y] = toScreen(plane, view, size, cursor);
  const gap = 14;
  for (const other of planes) {
    if (other.orientation === plane.orientation) continue;
    const upright = Math.abs(dot(other.into, plane.right)) > Math.abs(dot(other.into, plane.down));
    context.strokeStyle = planeColours[other.orientation];
    context.globalAlpha = 0.85;
    context.lineWidth = 1;
    context.beginPath();
    if (upright) {
      const px = Math.round(x) + 0.5;
      context.moveTo(px, 0);
      context.lineTo(px, y - gap);
      context.moveTo(px, y + gap);
      context.lineTo(px, size.height);
    } else {
      const py = Math.round(y) + 0.5;
      context.moveTo(0, py);
      context.lineTo(x - gap, py);
      context.moveTo(x + gap, py);
      context.lineTo(size.width, py);
    }
    context.stroke();
  }
  context.globalAlpha = 1;
}

export function drawScaleBar(context: CanvasRenderingContext2D, view: PaneView, size: Size): void {
  const bar = scaleBar(view.mmPerPx, Math.min(140, size.width * 0.3));
  const x = size.width - 12.5;
  const y = size.height - 12.5;
  context.strokeStyle = '#e6ebf0';
  context.fillStyle = '#e6ebf0';
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x - bar.px, y - 5);
  context.lineTo(x - bar.px, y);
  context.lineTo(x, y);
  context.lineTo(x, y - 5);
  context.stroke();
  context.font = '11px system-ui, sans-serif';
  context.textAlign = 'right';
  const text = bar.mm >= 10 ? `${bar.mm / 10} cm` : `${bar.mm} mm`;
  context.shadowColor = '#000';
  context.shadowBlur = 3;
  context.fillText(text, x - 4, y - 5);
  context.shadowBlur = 0;
}

/** True when a point is too near the edge of a pane to be seen well. */
export function isOutOfSight(plane: Plane, view: PaneView, size: Size, lps: Vec3): boolean {
  const [x, y] = toScreen(plane, view, size, lps);
  return x < 8 || y < 8 || x > size.width - 8 || y > size.height - 8;
}

/** The view moved so that a point is in its middle; depth does not matter to a view. */
export function centredOn(view: PaneView, lps: Vec3): PaneView {
  return { ...view, centre: add(lps, [0, 0, 0]) };
}

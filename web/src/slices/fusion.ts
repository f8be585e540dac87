// The second scan of the fused view, drawn over the grey picture of a pane. It keeps its own grid: every pixel is carried
// into the second scan (through its transform, when it has one) and read there by trilinear interpolation.
import { axisOf, dot, type PaneView, type Plane, type Size, type Vec3 } from './geometry';
import type { Window } from './presets';
import { rangeOf } from './presets';
import type { ViewVolume } from './volume';

export type FusionMode = 'blend' | 'checker' | 'split' | 'beside';
export type FusionColours = 'grey' | 'amber' | 'blue';

export interface Fusion {
  volume: ViewVolume;
  name: string;
  units: 'HU' | '1';
  /** LPS mm of the shown scan → the second one, rows of 4×4. */
  tie: number[][];
  window: Window;
  /** Values that occur, for the sliders. */
  range: [number, number];
  mode: FusionMode;
  colours: FusionColours;
  /** Share of the second scan, 0 to 1. */
  blend: number;
  tileMm: number;
  /** Only one of both, for flicking to and fro. */
  only: Side | null;
  /** Each pane also draws the labels of the scan that is not its own, through the tie. */
  bothLabels: boolean;
}

export type Side = 'first' | 'second';

export const fusionColours: Record<FusionColours, string> = { grey: 'Grey', amber: 'Amber', blue: 'Blue' };

/** Colour of a brightness from 0 to 255. Every map grows steadily lighter, so it also reads without colour. */
export function tint(colours: FusionColours, g: number): [number, number, number] {
  if (colours === 'amber') return [Math.min(255, g * 1.5), Math.max(0, g * 1.15 - 38), Math.max(0, g * 2 - 255)];
  if (colours === 'blue') return [Math.max(0, g * 2 - 255), Math.max(0, g * 1.25 - 64), Math.min(255, g * 1.5)];
  return [g, g, g];
}

export function carry(tie: number[][], p: Vec3, isPoint = true): Vec3 {
  return [0, 1, 2].map((r) => tie[r][0] * p[0] + tie[r][1] * p[1] + tie[r][2] * p[2] + (isPoint ? tie[r][3] : 0)) as Vec3;
}

/** Voxel index in the second scan as a function of the pixel: start + x·across + y·down. */
export function pixelWalk(fusion: Pick<Fusion, 'tie'> & { volume: Pick<ViewVolume, 'grid'> }, plane: Plane, view: PaneView,
  size: Size, focus: Vec3): { start: Vec3; across: Vec3; down: Vec3 } {
  const { grid } = fusion.volume;
  const toIndex = (d: Vec3): Vec3 => [0, 1, 2].map((axis) => dot(d, axisOf(grid, axis)) / grid.spacing_mm[axis]) as Vec3;
  const depth = dot([focus[0] - view.centre[0], focus[1] - view.centre[1], focus[2] - view.centre[2]], plane.into);
  const [x0, y0] = [(0.5 - size.width / 2) * view.mmPerPx, (0.5 - size.height / 2) * view.mmPerPx];
  const first = [0, 1, 2].map((c) => view.centre[c] + plane.into[c] * depth + plane.right[c] * x0 + plane.down[c] * y0) as Vec3;
  const there = carry(fusion.tie, first);
  const scaled = (d: Vec3): Vec3 => toIndex(carry(fusion.tie, d.map((c) => c * view.mmPerPx) as Vec3, false));
  return {
    start: toIndex([there[0] - grid.origin_lps[0], there[1] - grid.origin_lps[1], there[2] - grid.origin_lps[2]]),
    across: scaled(plane.right), down: scaled(plane.down),
  };
}

/** The value at a voxel index, NaN outside. */
export function sample(voxels: ArrayLike<number>, dim: readonly number[], i: number, j: number, k: number): number {
  if (!(i >= -0.5 && j >= -0.5 && k >= -0.5 && i <= dim[0] - 0.5 && j <= dim[1] - 0.5 && k <= dim[2] - 0.5)) return NaN;
  const [ci, cj, ck] = [Math.min(dim[0] - 1, Math.max(0, i)), Math.min(dim[1] - 1, Math.max(0, j)), Math.min(dim[2] - 1, Math.max(0, k))];
  const [i0, j0, k0] = [Math.floor(ci), Math.floor(cj), Math.floor(ck)];
  const [di, dj, dk] = [i0 + 1 < dim[0] ? 1 : 0, j0 + 1 < dim[1] ? dim[0] : 0, k0 + 1 < dim[2] ? dim[0] * dim[1] : 0];
  const [fi, fj, fk] = [ci - i0, cj - j0, ck - k0];
  const at = (k0 * dim[1] + j0) * dim[0] + i0;
  const row = (o: number) => voxels[o] + (voxels[o + di] - voxels[o]) * fi;
  const flat = (o: number) => row(o) + (row(o + dj) - row(o)) * fj;
  return flat(at) + (flat(at + dk) - flat(at)) * fk;
}

/** Panes with more CSS pixels are sampled at every other one, so that a drag stays smooth on one core. */
const mostPixels = 600000;

/** How many CSS pixels wide a sampled one is. */
export const stepOf = (size: Size): number => (size.width * size.height > mostPixels ? 2 : 1);

/** How opaque the second scan is at a pixel, 0 to 1. Tiles are anchored to the patient: they stay put while scrolling. */
function shareAt(fusion: Fusion, right: number, down: number, x: number, width: number): number {
  if (fusion.only) return fusion.only === 'second' ? 1 : 0;
  if (fusion.mode === 'blend') return fusion.blend;
  if (fusion.mode === 'split') return x >= width / 2 ? 1 : 0;
  return (Math.floor(right / fusion.tileMm) + Math.floor(down / fusion.tileMm)) & 1;
}

/** What a pane draws of the second scan: side by side, the first pane none of it and the second pane nothing else. */
export function fusionFor(fusion: Fusion | null, side: Side): Fusion | null {
  if (!fusion || fusion.mode !== 'beside' || fusion.only) return side === 'first' ? fusion : null;
  return side === 'first' ? null : { ...fusion, only: 'second', colours: 'grey' };
}

/** The scan that a pane shows, of two in one picture the one below. */
const shownIn = (fusion: Fusion, side: Side): Side => fusion.only ?? (fusion.mode === 'beside' ? side : 'first');

const other = (side: Side): Side => (side === 'first' ? 'second' : 'first');

/** Whose labels a pane draws: those of the scan it shows, and the other's only where they were asked for. */
export function labelSides(fusion: Fusion | null, side: Side): Side[] {
  if (!fusion) return ['first'];
  const own = shownIn(fusion, side);
  return fusion.bothLabels ? [own, other(own)] : [own];
}

/** Whose labels come to a pane through the tie alone, which it must say: the tie's error is theirs too. */
export function carriedSide(fusion: Fusion | null, side: Side): Side | null {
  return fusion?.bothLabels ? other(shownIn(fusion, side)) : null;
}

/** One cut of the second scan's labels, each pixel of stepOf() the nearest voxel, and 0 outside. */
export function cutLabels(volume: Pick<ViewVolume, 'grid' | 'voxels'>, tie: number[][], plane: Plane, view: PaneView, size: Size, focus: Vec3):
  { labels: Uint16Array; width: number; height: number } {
  const step = stepOf(size);
  const [width, height] = [Math.ceil(size.width / step), Math.ceil(size.height / step)];
  const { start, across, down } = pixelWalk({ tie, volume }, plane, view, size, focus);
  const { voxels, grid: { dim } } = volume;
  const labels = new Uint16Array(width * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to++) {
      const i = Math.round(start[0] + (x * across[0] + y * down[0]) * step);
      const j = Math.round(start[1] + (x * across[1] + y * down[1]) * step);
      const k = Math.round(start[2] + (x * across[2] + y * down[2]) * step);
      if (i >= 0 && j >= 0 && k >= 0 && i < dim[0] && j < dim[1] && k < dim[2]) labels[to] = voxels[(k * dim[1] + j) * dim[0] + i];
    }
  }
  return { labels, width, height };
}

/** Draws the second scan over a pane whose context is scaled to CSS pixels. */
export function drawFusion(context: CanvasRenderingContext2D, fusion: Fusion, plane: Plane, view: PaneView, size: Size, focus: Vec3,
  scratch: HTMLCanvasElement): void {
  const step = stepOf(size);
  const [width, height] = [Math.ceil(size.width / step), Math.ceil(size.height / step)];
  const image = new ImageData(width, height);
  const { start, across, down } = pixelWalk(fusion, plane, view, size, focus);
  const [low, high] = rangeOf(fusion.window);
  const table = Array.from({ length: 256 }, (_, g) => tint(fusion.colours, g));
  const { voxels, grid: { dim } } = fusion.volume;
  const [left, top] = [dot(view.centre, plane.right) - (size.width / 2) * view.mmPerPx, dot(view.centre, plane.down) - (size.height / 2) * view.mmPerPx];
  const opaque = fusion.mode !== 'blend' || fusion.only !== null;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 4) {
      const [px, py] = [x * step, y * step];
      const share = shareAt(fusion, left + px * view.mmPerPx, top + py * view.mmPerPx, px, size.width);
      if (share === 0) continue;
      const value = sample(voxels, dim, start[0] + px * across[0] + py * down[0], start[1] + px * across[1] + py * down[1],
        start[2] + px * across[2] + py * down[2]);
      if (Number.isNaN(value)) {
        if (opaque) image.data[to + 3] = 255;
        continue;
      }
      const shade = table[Math.max(0, Math.min(255, Math.round(((value - low) / (high - low)) * 255)))];
      image.data[to] = shade[0];
      image.data[to + 1] = shade[1];
      image.data[to + 2] = shade[2];
      image.data[to + 3] = share * 255;
    }
  }
  scratch.width = width;
  scratch.height = height;
  scratch.getContext('2d')?.putImageData(image, 0, 0);
  context.drawImage(scratch, 0, 0, width * step, height * step);
  if (fusion.mode === 'split' && !fusion.only) {
    context.fillStyle = '#f2d479';
    context.fillRect(Math.round(size.width / 2), 0, 1, size.height);
  }
}

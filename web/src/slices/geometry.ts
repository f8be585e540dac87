// Voxel index ↔ patient millimetres, and how a volume's own axes are laid on the screen. Points say their frame: `lps`
// is DICOM patient millimetres (left, posterior, superior), `ijk` is a voxel index (voxel centres are whole numbers).
import type { GridMeta } from '../api/types';

export type Vec3 = [number, number, number];
export type Orientation = 'axial' | 'coronal' | 'sagittal';
export const orientations: readonly Orientation[] = ['axial', 'coronal', 'sagittal'];

export const dot = (a: Vec3, b: Vec3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const add = (a: Vec3, b: Vec3, scale = 1): Vec3 => [a[0] + b[0] * scale, a[1] + b[1] * scale, a[2] + b[2] * scale];
export const sub = (a: Vec3, b: Vec3): Vec3 => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

/** Column `axis` of the direction matrix: the unit vector, in LPS, along which that index grows. */
export function axisOf(grid: GridMeta, axis: number): Vec3 {
  return [grid.direction[axis], grid.direction[3 + axis], grid.direction[6 + axis]];
}

export function ijkToLps(grid: GridMeta, ijk: Vec3): Vec3 {
  let p: Vec3 = [...grid.origin_lps];
  for (let axis = 0; axis < 3; axis++) p = add(p, axisOf(grid, axis), ijk[axis] * grid.spacing_mm[axis]);
  return p;
}

/** Directions are orthonormal (import shears what is not), so the transpose is the inverse. */
export function lpsToIjk(grid: GridMeta, lps: Vec3): Vec3 {
  const d = sub(lps, grid.origin_lps);
  return [0, 1, 2].map((axis) => dot(d, axisOf(grid, axis)) / grid.spacing_mm[axis]) as Vec3;
}

export function clampIjk(grid: GridMeta, ijk: Vec3): Vec3 {
  return ijk.map((value, axis) => Math.min(grid.dim[axis] - 1, Math.max(0, value))) as Vec3;
}

export function centreLps(grid: GridMeta): Vec3 {
  return ijkToLps(grid, grid.dim.map((n) => (n - 1) / 2) as Vec3);
}

/** True when the grid is one a viewer may trust: finite, positive, right-handed and orthonormal. */
export function isSoundGrid(grid: GridMeta): boolean {
  const numbers = [...grid.dim, ...grid.spacing_mm, ...grid.origin_lps, ...grid.direction];
  if (grid.direction.length !== 9 || !numbers.every(Number.isFinite)) return false;
  if (!grid.dim.every((n) => Number.isInteger(n) && n > 0) || !grid.spacing_mm.every((s) => s > 0)) return false;
  const [x, y, z] = [axisOf(grid, 0), axisOf(grid, 1), axisOf(grid, 2)];
  return Math.abs(dot(cross(x, y), z) - 1) < 1e-3 && Math.abs(dot(x, y)) < 1e-3 && Math.abs(dot(y, z)) < 1e-3;
}

/** One view: which index is the slice number and which patient directions point right and down on the screen. */
export interface Plane {
  orientation: Orientation;
  axis: number;
  right: Vec3;
  down: Vec3;
  /** Away from the viewer, into the screen: right × down. */
  into: Vec3;
}

// Radiological convention: the viewer stands at the feet (axial), in front (coronal) or at the patient's left
// (sagittal). Patient axis that is sliced, and what should point right and down.
const conventions: Record<Orientation, { normal: number; right: Vec3; down: Vec3 }> = {
  axial: { normal: 2, right: [1, 0, 0], down: [0, 1, 0] },
  coronal: { normal: 1, right: [1, 0, 0], down: [0, 0, -1] },
  sagittal: { normal: 0, right: [0, 1, 0], down: [0, 0, -1] },
};

/** Volume axis for each patient axis (x, y, z): the assignment with the greatest total alignment. */
export function matchAxes(grid: GridMeta): Vec3 {
  const orders: Vec3[] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const score = (order: Vec3) => order.reduce((sum, axis, patient) => sum + Math.abs(axisOf(grid, axis)[patient]), 0);
  return orders.reduce((best, order) => (score(order) > score(best) + 1e-9 ? order : best));
}

/**
 * The three views run along the volume's own axes, so that a slice on the screen is a slice of the scan even when it is
 * oblique to the patient; the letters say how oblique.
 */
export function planeOf(grid: GridMeta, orientation: Orientation): Plane {
  const wanted = conventions[orientation];
  const axes = matchAxes(grid);
  const pick = (direction: Vec3): Vec3 => {
    const patient = direction.findIndex((c) => c !== 0);
    const along = axisOf(grid, axes[patient]);
    return dot(along, direction) < 0 ? (along.map((c) => -c) as Vec3) : along;
  };
  const right = pick(wanted.right);
  const down = pick(wanted.down);
  return { orientation, axis: axes[wanted.normal], right, down, into: cross(right, down) };
}

/** Letters for a direction: the nearest patient direction first, then others within about 70°. */
export function letters(direction: Vec3): string {
  const names: [string, string][] = [['R', 'L'], ['A', 'P'], ['I', 'S']];
  return direction
    .map((c, axis) => ({ size: Math.abs(c), letter: names[axis][c < 0 ? 0 : 1] }))
    .filter((part) => part.size > 0.34)
    .sort((a, b) => b.size - a.size)
    .map((part) => part.letter)
    .join('');
}

export function opposite(direction: Vec3): Vec3 {
  return direction.map((c) => -c) as Vec3;
}

/** Where a pane looks: the LPS point in its middle and how many millimetres one CSS pixel covers. */
export interface PaneView {
  centre: Vec3;
  mmPerPx: number;
}

export interface Size {
  width: number;
  height: number;
}

export function toScreen(plane: Plane, view: PaneView, size: Size, lps: Vec3): [number, number] {
  const d = sub(lps, view.centre);
  return [
    size.width / 2 + dot(d, plane.right) / view.mmPerPx,
    size.height / 2 + dot(d, plane.down) / view.mmPerPx,
  ];
}

/** The point under a pixel, at the depth of `through` (a point on the slice that is shown). */
export function toPatient(plane: Plane, view: PaneView, size: Size, px: [number, number], through: Vec3): Vec3 {
  const x = (px[0] - size.width / 2) * view.mmPerPx;
  const y = (px[1] - size.height / 2) * view.mmPerPx;
  const flat = add(add(view.centre, plane.right, x), plane.down, y);
  return add(flat, plane.into, dot(sub(through, flat), plane.into));
}

/** Extent in mm of the volume along a direction that is one of its axes. */
function extentMm(grid: GridMeta, direction: Vec3): number {
  return [0, 1, 2].reduce(
    (sum, axis) => sum + Math.abs(dot(axisOf(grid, axis), direction)) * grid.dim[axis] * grid.spacing_mm[axis],
    0,
  );
}

/** The view that shows the whole volume. */
export function fitView(grid: GridMeta, plane: Plane, size: Size): PaneView {
  const mmPerPx = Math.max(
    extentMm(grid, plane.right) / Math.max(1, size.width),
    extentMm(grid, plane.down) / Math.max(1, size.height),
  );
  return { centre: centreLps(grid), mmPerPx: mmPerPx * 1.02 };
}

/** Slice number (from 0) of a point in a plane. */
export function sliceAt(grid: GridMeta, plane: Plane, lps: Vec3): number {
  const index = Math.round(lpsToIjk(grid, lps)[plane.axis]);
  return Math.min(grid.dim[plane.axis] - 1, Math.max(0, index));
}

/** Moves a point so that it lies exactly on slice `index` of the plane. */
export function onSlice(grid: GridMeta, plane: Plane, lps: Vec3, index: number): Vec3 {
  const ijk = lpsToIjk(grid, lps);
  return add(lps, axisOf(grid, plane.axis), (index - ijk[plane.axis]) * grid.spacing_mm[plane.axis]);
}

/** Moves a point on the volume's nearest slice of the plane: what that pane shows. */
export function snapped(grid: GridMeta, plane: Plane, lps: Vec3): Vec3 {
  return onSlice(grid, plane, lps, sliceAt(grid, plane, lps));
}

/** A round length for a scale bar that is at most `maxPx` long. */
export function scaleBar(mmPerPx: number, maxPx: number): { mm: number; px: number } {
  const most = mmPerPx * maxPx;
  const power = Math.pow(10, Math.floor(Math.log10(most)));
  const mm = [5, 2, 1].map((step) => step * power).find((length) => length <= most) ?? power;
  return { mm, px: mm / mmPerPx };
}

// Where the surfaces of each scan stand in the 3D scene, whose millimetres are those of the shown scan. Surfaces of a scan that is
// aligned with it are carried over; those of one that is not would stand beside their anatomy, and are not drawn together with it.
import type { Artefact } from '../api/types';
import { scanOf } from './groups';
import { tieOf, type ShownVolume, type Structure } from './model';

export interface Placement {
  /** By structure: the way to the shown scan (LPS mm, rows of 4×4); what is missing here is not drawn. */
  places: ReadonlyMap<string, number[][]>;
  /** The shown scan has no surfaces: those in the scene are of another one, and a point in it is none in the slices. */
  apart: boolean;
  /** How many structures with surfaces are not drawn, since nothing ties their scan to the shown one. */
  left: number;
}

const identity = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];

/**
 * The way from a structure's scan to the shown one, null when nothing ties the two. An alignment counts before a common frame of
 * reference, as it does in the fused view: it was asked for because the patient had moved.
 */
export function placeOf(structure: Structure, shown: ShownVolume, volumes: readonly ShownVolume[], artefacts: readonly Artefact[]): number[][] | null {
  if (structure.series === shown.view.series_id) return identity;
  const own = scanOf(structure.of, volumes);
  return own && tieOf(own, shown, artefacts);
}

export function placementOf(structures: readonly Structure[], shown: ShownVolume | null, volumes: readonly ShownVolume[],
  artefacts: readonly Artefact[]): Placement {
  const solid = structures.filter((structure) => structure.surfaces.length > 0);
  if (!shown) return { places: new Map(), apart: false, left: 0 };
  const tied = solid.flatMap((s) => {
    const place = placeOf(s, shown, volumes, artefacts);
    return place ? [[s.key, place] as const] : [];
  });
  if (tied.length > 0 || solid.length === 0) return { places: new Map(tied), apart: false, left: solid.length - tied.length };
  // One scan's surfaces are right among themselves, and better than none.
  const first = solid[0].series;
  const together = solid.filter((s) => s.series === first);
  return { places: new Map(together.map((s) => [s.key, identity])), apart: true, left: solid.length - together.length };
}

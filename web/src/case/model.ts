// What a case holds, as the viewer needs it: volumes that can be shown and structures with their labels and surfaces.
// Pure functions over the artefact list; the list is a graph's nodes, and names and series tie them together.
import type { Artefact, ArtefactMeta, GridMeta, Segment } from '../api/types';

export interface ShownVolume {
  id: string;
  view: Artefact;
  /** The volume's own meta under the view's: modality, window, quality, corrections. */
  meta: ArtefactMeta;
  name: string;
  /** What the view was made from; jobs read this one. */
  source: Artefact | null;
}

export interface Structure {
  /** Stable across a rebuild, so that colour and visibility chosen by the user stay. */
  key: string;
  /** The segmentation that it is a part of. */
  of: Artefact;
  /** The series it was drawn on. */
  series: string | null;
  label: number;
  /** Its own name, which the same job with other parameters gives again; `name` is the only one of its kind. */
  called: string;
  name: string;
  colour: string;
  volumeMl: number | null;
  /** Voxel labels for the overlay, null until prepared. */
  labels: Artefact | null;
  /** Surfaces, coarsest first. */
  surfaces: Artefact[];
  /** The master surface with its report: closed, manifold, area. */
  master: Artefact | null;
  /** Other files of the surface, to take away. */
  files: Artefact[];
  /** How sure the job was, 0 to 1; null when it does not say. */
  confidence: number | null;
  /** Left for a person to check. */
  review: boolean;
  /** Not shown until somebody asks for it: it lies over what the same or a later job tells apart. */
  covers: boolean;
  /** What the slices write on it: the level of a vertebra as the job named it, else its number from the top with a question mark. */
  mark: string;
}

const stem = (name: string): string => name.replace(/\.(nii\.gz|nii|kvv|ply|stl|glb)$/i, '');

function sameGrid(a: GridMeta | undefined, b: GridMeta | undefined): boolean {
  if (!a || !b) return false;
  const near = (x: number[], y: number[], by: number) => x.every((value, i) => Math.abs(value - y[i]) <= by);
  return near(a.dim, b.dim, 0) && near(a.spacing_mm, b.spacing_mm, 1e-4) && near(a.origin_lps, b.origin_lps, 1e-2)
    && near(a.direction, b.direction, 1e-4);
}

function current(artefacts: readonly Artefact[], kind: string): Artefact[] {
  return artefacts
    .filter((artefact) => artefact.kind === kind && !artefact.superseded)
    .sort((a, b) => a.created_at.localeCompare(b.created_at) || a.name.localeCompare(b.name));
}

const from = (made: Artefact, source: Artefact): boolean => (made.made_from ?? []).some((m) => m.sha256 === source.sha256);

/** The source a view was made from, as its job says; where no job says anything (older servers): same series and grid, the same stem of the name before any other. */
function sourceOf(view: Artefact, sources: readonly Artefact[]): Artefact | undefined {
  const said = sources.filter((s) => from(view, s));
  if ((view.made_from ?? []).length > 0) return said.find((s) => s.series_id === view.series_id) ?? said[0];
  const near = sources.filter((s) => s.series_id === view.series_id && sameGrid(s.meta.grid, view.meta.grid));
  return near.find((s) => stem(s.name) === stem(view.name)) ?? near[0];
}

/** What was done to a scan that was resampled onto another one; the later of two that were treated alike are numbered. */
function howAligned(resampled: Artefact, artefacts: readonly Artefact[]): string {
  const model = (made: Artefact) => (current(artefacts, 'transform').find((t) => t.job_id === made.job_id)?.meta.model === 'deformable');
  const from = (made: Artefact) => made.made_from?.find((m) => m.name === 'moving')?.sha256;
  const alike = current(artefacts, 'volume').filter((v) => v.meta.of === 'moving' && from(v) === from(resampled) && model(v) === model(resampled));
  const time = alike.indexOf(resampled) + 1;
  return `aligned${model(resampled) ? ' and bent' : ''}${time > 1 ? ` ${time}` : ''}`;
}

export function volumesOf(artefacts: readonly Artefact[]): ShownVolume[] {
  const sources = current(artefacts, 'volume');
  return current(artefacts, 'volume.view').map((view) => {
    const source = sourceOf(view, sources);
    const meta = { ...source?.meta, ...view.meta };
    const apart = meta.grid?.spacing_mm[2];
    const own = meta.series_description?.trim() || (apart === undefined ? 'Unnamed series' : `Unnamed, ${apart.toFixed(1)} mm slices`);
    const name = source?.meta.of === 'moving' ? `${own}, ${howAligned(source, artefacts)}` : own;
    return { id: source?.id ?? view.id, view, meta, name, source: source ?? null };
  });
}

/** The volume to open with: the one with the thinnest voxels among the CTs, else the first. */
export function firstVolume(volumes: readonly ShownVolume[]): ShownVolume | undefined {
  const coarse = (volume: ShownVolume) => Math.max(...(volume.meta.grid?.spacing_mm ?? [Infinity]));
  const ranked = [...volumes].sort((a, b) =>
    Number(b.meta.modality === 'CT') - Number(a.meta.modality === 'CT') || coarse(a) - coarse(b));
  return ranked[0];
}

/** Surfaces of one label of a segmentation: what was made from it; of older servers, what has its series. */
function surfacesOf(all: readonly Artefact[], segmentation: Artefact, label: number): Artefact[] {
  return all.filter((m) => m.series_id === segmentation.series_id && (m.meta.segment ?? 1) === label
    && ((m.made_from ?? []).length === 0 || from(m, segmentation)));
}

function needsReview(segment: Segment): boolean {
  return segment.review === true || typeof segment.review === 'string' || /review|unsure|unconfirmed/.test(segment.state ?? '');
}

/** T12 of a vertebra whose level is named; “3?” of the third of nine that are not. */
function markOf(segment: Segment): string {
  if (segment.level) return segment.level;
  const number = /^vertebra (\d+) of \d+\b/i.exec(segment.name)?.[1];
  return number ? `${number}?` : '';
}

/**
 * The skin hides what lies in it; what was found again in the same scan lies in the same places, also where a later job of its kind
 * counted otherwise; and so does one label for all bone and its parts, once these have surfaces to be seen in its place.
 */
function coversOthers(segment: Segment, of: Artefact, all: readonly Artefact[], meshes: readonly Artefact[], kindOf: KindOf): boolean {
  const own = of.meta.segments ?? [];
  if (/^skin\b/i.test(segment.name)) return own.length > 1;
  const source = (made: Artefact) => made.made_from?.find((m) => m.name === 'volume')?.sha256;
  const later = all.slice(all.indexOf(of) + 1).filter((other) => other.series_id === of.series_id && source(other) === source(of)
    && meshes.some((mesh) => surfacesOf([mesh], other, mesh.meta.segment ?? 1).length > 0));
  const kind = kindOf(of);
  const again = later.some((other) => (kind !== undefined && kindOf(other) === kind) || (other.meta.segments ?? []).some((s) => s.label === segment.label && s.name === segment.name));
  return again || (own.length === 1 && /^bone\b/i.test(segment.name) && later.some((other) => (other.meta.segments ?? []).length > 1));
}

/** What kind of job gave an artefact, where that is known. */
export type KindOf = (artefact: Artefact) => string | undefined;

export function structuresOf(artefacts: readonly Artefact[], kindOf: KindOf = () => undefined): Structure[] {
  const views = current(artefacts, 'segmentation.view');
  const meshes = current(artefacts, 'mesh.view');
  const structures: Structure[] = [];
  const used = new Set<string>();
  const times = new Map<string, number>();
  const segmentations = current(artefacts, 'segmentation');
  for (const segmentation of segmentations) {
    const labels = views.find((view) => sourceOf(view, [segmentation]) === segmentation) ?? null;
    for (const segment of segmentation.meta.segments ?? []) {
      const surfaces = surfacesOf(meshes, segmentation, segment.label)
        .filter((m) => !used.has(m.id))
        .sort((a, b) => (b.meta.lod ?? 0) - (a.meta.lod ?? 0));
      for (const surface of surfaces) used.add(surface.id);
      const files = surfacesOf(current(artefacts, 'mesh'), segmentation, segment.label);
      // The same job with other parameters gives the same name again: later ones are numbered.
      const key = `${segmentation.series_id ?? ''}/${stem(segmentation.name)}/${segment.label}/${segment.name}`;
      const time = (times.get(key) ?? 0) + 1;
      times.set(key, time);
      structures.push({
        key: time === 1 ? key : `${key}#${time}`,
        of: segmentation,
        series: segmentation.series_id,
        label: segment.label,
        called: segment.name,
        name: time === 1 ? segment.name : `${segment.name} ${time}`,
        confidence: segment.confidence ?? null,
        review: needsReview(segment),
        covers: coversOthers(segment, segmentation, segmentations, meshes, kindOf),
        mark: markOf(segment),
        colour: segment.colour,
        volumeMl: segment.volume_ml ?? null,
        labels,
        surfaces,
        master: files.find((file) => /ply$/i.test(file.name)) ?? files[0] ?? null,
        files,
      });
    }
  }
  return structures;
}

/** The transforms that were made of these two scans, the newest first, and whether `shown` was the fixed one. */
function transformsOf(shown: ShownVolume, other: ShownVolume, artefacts: readonly Artefact[]): { by: Artefact; onward: boolean }[] {
  const [a, b] = [shown.source?.sha256, other.source?.sha256];
  if (!a || !b) return [];
  const role = (t: Artefact, name: string) => t.made_from?.find((m) => m.name === name)?.sha256;
  return current(artefacts, 'transform').reverse().flatMap((by) => {
    const onward = role(by, 'fixed') === a && role(by, 'moving') === b;
    return onward || (role(by, 'fixed') === b && role(by, 'moving') === a) ? [{ by, onward }] : [];
  });
}

/** A matrix carries points where the map is no more than that: a deformation is seen in the image that was resampled with it. */
const isLinear = (transform: Artefact): boolean => !!transform.meta.matrix && !!transform.meta.inverse && transform.meta.model !== 'deformable';

/** How points of the shown scan go to another one (LPS mm, rows of 4×4), null when nothing ties the two together. */
export function tieOf(shown: ShownVolume, other: ShownVolume, artefacts: readonly Artefact[]): number[][] | null {
  const found = transformsOf(shown, other, artefacts).find(({ by }) => isLinear(by));
  if (found) return (found.onward ? found.by.meta.matrix : found.by.meta.inverse) ?? null;
  const frame = shown.meta.frame_of_reference_uid;
  const same = (frame && frame === other.meta.frame_of_reference_uid) || shown.view.series_id === other.view.series_id;
  return same ? [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]] : null;
}

/** The registration that lays one scan over the other: of both, or the one that resampled one of them; null where none was needed. */
export function alignmentOf(shown: ShownVolume, other: ShownVolume, artefacts: readonly Artefact[]): Artefact | null {
  const resampled = [other, shown].find((v) => v.meta.of === 'moving')?.source?.job_id;
  return transformsOf(shown, other, artefacts).find(({ by }) => isLinear(by))?.by
    ?? current(artefacts, 'transform').find((t) => t.job_id === resampled) ?? null;
}

/** Words for the quality gate and what import had to correct; `level` decides the sign before it. */
export interface Note {
  level: 'stop' | 'warn' | 'info';
  title: string;
  detail: string;
}

export function notesOf(meta: ArtefactMeta, correctionName: (code: string) => string): Note[] {
  const notes: Note[] = [];
  // Scanners write a thickness of 0 too: then the distance alone says something.
  const thick = meta.quality?.slice_thickness_mm || undefined;
  const apart = meta.quality?.slice_spacing_mm ?? thick;
  const also = thick !== undefined && apart !== undefined && Math.abs(thick - apart) > 0.01 ? ` and ${thick.toFixed(2)} mm thick` : '';
  const measured = apart === undefined ? '' : `Slices are ${apart.toFixed(2)} mm apart${also}. `;
  if (meta.quality?.gate === 'no_guide') {
    notes.push({
      level: 'stop', title: 'Too coarse for cutting guides',
      detail: `${measured}Above 1.25 mm no cutting guide is made without a reasoned override; 0.65 mm is advised.`,
    });
  } else if (meta.quality?.gate === 'warn') {
    notes.push({
      level: 'warn', title: 'Coarse for planning',
      detail: `${measured}Above 1.0 mm the signer is warned; 0.65 mm is advised.`,
    });
  }
  if (meta.of === 'moving') {
    notes.push({ level: 'warn', title: 'Resampled onto another scan', detail: 'For comparing in the fused view: measure and plan on the scan as it came.' });
  }
  for (const correction of meta.corrections ?? []) {
    notes.push({ level: 'info', title: correctionName(correction.code), detail: correction.detail });
  }
  if (meta.modality === 'CT' && meta.units && meta.units !== 'HU') {
    notes.push({ level: 'warn', title: 'Not in Hounsfield units', detail: 'Thresholds and values along a path are off for this scan.' });
  }
  return notes;
}

// What a case holds, as the viewer needs it: volumes that can be shown and structures with their labels and surfaces.
// Pure functions over the artefact list; the list is a graph's nodes, and names and series tie them together.
import type { Artefact, ArtefactMeta, GridMeta } from '../api/types';

export interface ShownVolume {
  id: string;
  view: Artefact;
  /** The volume's own meta under the view's: modality, window, quality, corrections. */
  meta: ArtefactMeta;
  name: string;
}

export interface Structure {
  /** Stable across a rebuild, so that colour and visibility chosen by the user stay. */
  key: string;
  /** The series it was drawn on. */
  series: string | null;
  label: number;
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
}

const stem = (name: string): string => name.replace(/\.(nii\.gz|nii|kvv|ply|stl|glb)$/i, '');

export function sameGrid(a: GridMeta | undefined, b: GridMeta | undefined): boolean {
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

/** The source a view was made from: same series and grid, the same stem of the name before any other. */
function sourceOf(view: Artefact, sources: readonly Artefact[]): Artefact | undefined {
  const near = sources.filter((s) => s.series_id === view.series_id && sameGrid(s.meta.grid, view.meta.grid));
  return near.find((s) => stem(s.name) === stem(view.name)) ?? near[0];
}

export function volumesOf(artefacts: readonly Artefact[]): ShownVolume[] {
  const sources = current(artefacts, 'volume');
  return current(artefacts, 'volume.view').map((view) => {
    const source = sourceOf(view, sources);
    const meta = { ...source?.meta, ...view.meta };
    const name = meta.series_description?.trim() || `${meta.modality ?? 'Volume'} ${stem(view.name)}`;
    return { id: source?.id ?? view.id, view, meta, name };
  });
}

/** The volume to open with: the one with the thinnest voxels among the CTs, else the first. */
export function firstVolume(volumes: readonly ShownVolume[]): ShownVolume | undefined {
  const coarse = (volume: ShownVolume) => Math.max(...(volume.meta.grid?.spacing_mm ?? [Infinity]));
  const ranked = [...volumes].sort((a, b) =>
    Number(b.meta.modality === 'CT') - Number(a.meta.modality === 'CT') || coarse(a) - coarse(b));
  return ranked[0];
}

const surfaceFiles = (artefacts: readonly Artefact[], series: string | null, label: number) =>
  current(artefacts, 'mesh').filter((m) => m.series_id === series && (m.meta.segment ?? 1) === label);

export function structuresOf(artefacts: readonly Artefact[]): Structure[] {
  const views = current(artefacts, 'segmentation.view');
  const meshes = current(artefacts, 'mesh.view');
  const structures: Structure[] = [];
  const used = new Set<string>();
  for (const segmentation of current(artefacts, 'segmentation')) {
    const labels = views.find((view) => sourceOf(view, [segmentation]) === segmentation) ?? null;
    for (const segment of segmentation.meta.segments ?? []) {
      const surfaces = meshes
        .filter((m) => m.series_id === segmentation.series_id && (m.meta.segment ?? 1) === segment.label && !used.has(m.id))
        .sort((a, b) => (b.meta.lod ?? 0) - (a.meta.lod ?? 0));
      for (const surface of surfaces) used.add(surface.id);
      const files = surfaceFiles(artefacts, segmentation.series_id, segment.label);
      structures.push({
        key: `${segmentation.series_id ?? ''}/${stem(segmentation.name)}/${segment.label}`,
        series: segmentation.series_id,
        label: segment.label,
        name: segment.name,
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

/**
 * True when a structure may be shown with a scan as one anatomy: drawn on it, or both in one frame of reference. Anything else
 * is another position of the patient until a registration says otherwise.
 */
export function sharesFrame(structure: Structure, shown: ShownVolume, volumes: readonly ShownVolume[]): boolean {
  if (structure.series === shown.view.series_id) return true;
  const own = volumes.find((volume) => volume.view.series_id === structure.series)?.meta.frame_of_reference_uid;
  return !!own && own === shown.meta.frame_of_reference_uid;
}

/** Words for the quality gate and what import had to correct; `level` decides the sign before it. */
export interface Note {
  level: 'stop' | 'warn' | 'info';
  title: string;
  detail: string;
}

export function notesOf(meta: ArtefactMeta, correctionName: (code: string) => string): Note[] {
  const notes: Note[] = [];
  const thick = meta.quality?.slice_thickness_mm;
  const measured = thick === undefined ? '' : `Slices are ${thick.toFixed(2)} mm apart. `;
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
  for (const correction of meta.corrections ?? []) {
    notes.push({ level: 'info', title: correctionName(correction.code), detail: correction.detail });
  }
  if (meta.modality === 'CT' && meta.units && meta.units !== 'HU') {
    notes.push({ level: 'warn', title: 'Not in Hounsfield units', detail: 'Thresholds and values along a path are off for this scan.' });
  }
  return notes;
}

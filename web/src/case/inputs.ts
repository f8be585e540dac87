// What a job works on, in words that a planner knows the scans by: a job alone is “Find bone”, and a case may hold four CTs.
import type { Artefact, Job, JobInput, Series } from '../api/types';
import { count } from '../ui/format';
import { clock, scanName, scanOf, titleOf } from './groups';
import type { ShownVolume } from './model';

/** What the page knows of a case. */
export interface Known {
  artefacts: readonly Artefact[];
  volumes: readonly ShownVolume[];
  series: readonly Series[];
  jobs: readonly Job[];
}

const size = (dim: readonly number[] | null | undefined): string => (dim ? dim.join('×') : '');

/** A scan by its series, for what cannot be shown: not prepared yet, or replaced since. */
function seriesWords(input: JobInput, series: readonly Series[]): string {
  const own = series.find((s) => s.id === input.series_id);
  const modality = input.modality || own?.modality;
  return [modality || 'a scan', own?.description.trim()].filter(Boolean).join(' · ');
}

/** “CT · Head 0.6 mm, 512×512×300”. */
function scanWords(input: JobInput, known: Known): string {
  const scan = known.volumes.find((v) => v.source !== null && v.source.id === input.artefact_id);
  return [scan ? scanName(scan) : seriesWords(input, known.series), size(input.dim ?? scan?.meta.grid?.dim)].filter(Boolean).join(', ');
}

function segmentationWords(input: JobInput, known: Known): string {
  const made = known.artefacts.find((a) => a.id === input.artefact_id);
  if (!made) return `structures in ${[seriesWords(input, known.series), size(input.dim)].filter(Boolean).join(', ')}`;
  const title = titleOf(made, known.jobs.find((job) => job.id === made.job_id)?.kind);
  const scan = scanName(scanOf(made, known.volumes)) || seriesWords(input, known.series);
  return [`${title} of ${clock(made.created_at)} in ${scan}`, size(input.dim)].filter(Boolean).join(', ');
}

function words(input: JobInput, known: Known): string {
  if (input.kind === 'instance') return `${seriesWords(input, known.series)}, ${count(input.count, 'image')}`;
  if (input.kind === 'segmentation') return segmentationWords(input, known);
  if (input.kind === 'volume' || input.kind === null) return scanWords(input, known);
  return `a ${input.kind.replace(/[._]/g, ' ')}`;
}

/** What a job reads: “CT · Head 0.6 mm, 512×512×300 and MR · T2, 320×320×90”; empty when it says nothing. */
export function inputsWords(job: Job, known: Known): string {
  const labels = job.inputs.filter((input) => input.kind === 'segmentation');
  // The scan under a segmentation is named with it.
  const told = job.inputs.filter((input) => input.kind !== 'volume' || !labels.some((l) => l.series_id === input.series_id));
  return [...new Set(told.map((input) => words(input, known)))].join(' and ');
}

// How values are written for people.
import type { Job } from '../api/types';

/** DICOM person name `Family^Given^Middle^Prefix^Suffix`, first of its `=` groups, as `Family, Given Middle`. */
export function personName(pn: string): string {
  const [family = '', given = '', middle = '', prefix = ''] = (pn.split('=')[0] ?? '').split('^').map((s) => s.trim());
  const first = [prefix, given, middle].filter(Boolean).join(' ');
  return [family, first].filter(Boolean).join(', ') || 'No name';
}

/** DICOM date YYYYMMDD as YYYY-MM-DD; what is not one stays as it came. */
export function dicomDate(da: string): string {
  return /^\d{8}$/.test(da) ? `${da.slice(0, 4)}-${da.slice(4, 6)}-${da.slice(6)}` : da;
}

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'narrow' });

export function ago(iso: string, now = Date.now()): string {
  const seconds = (Date.parse(iso) - now) / 1000;
  if (!Number.isFinite(seconds)) return '';
  const size = Math.abs(seconds);
  if (size < 50) return 'just now';
  if (size < 3000) return relative.format(Math.round(seconds / 60), 'minute');
  if (size < 80000) return relative.format(Math.round(seconds / 3600), 'hour');
  if (size < 20 * 86400) return relative.format(Math.round(seconds / 86400), 'day');
  return iso.slice(0, 10);
}

export function dateTime(iso: string | null | undefined): string {
  if (!iso) return '';
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = n;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

export const count = (n: number, one: string, many = `${one}s`): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

export const percent = (fraction: number): string => `${Math.round(Math.min(1, Math.max(0, fraction)) * 100)} %`;

/** A length of time for people: 8 s, 2 min 5 s, 1 h 3 min. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (!Number.isFinite(s)) return '';
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const jobNames: Record<string, string> = {
  import: 'Read the series',
  view: 'Prepare the slices',
  'segment.bone': 'Find bone',
  mesh: 'Build surfaces',
  register: 'Align two scans',
  compare: 'Compare two segmentations',
  'segment.head': 'Find skull, jaws and teeth',
  'segment.spine': 'Find vertebrae, discs, canal and nerves',
  'segment.leg': 'Find tibia and fibula',
};

export const jobName = (kind: string): string => jobNames[kind] ?? kind;

const failures: Record<string, string> = {
  no_bone: 'No bone was found in this scan.',
  out_of_memory: 'The job needed more memory than it may use.',
  timeout: 'The job took longer than it may take.',
  crashed: 'The job stopped unexpectedly.',
  worker_lost: 'The worker that ran the job went away.',
  lease_expired: 'The worker that ran the job went away.',
  no_volume: 'No volume can be made from this series.',
  mirrored: 'The series is mirrored and was refused.',
  missing_slices: 'Slices of the series are missing.',
  no_spine: 'No spine was found in this scan.',
  no_discs: 'No spine was found in this scan.',
  no_bodies: 'No spine was found in this scan.',
  no_head: 'No head was found in this scan.',
  no_leg: 'No lower leg was found in this scan.',
  not_t2: 'This job needs a T2-weighted MR.',
  not_ct: 'This job needs a CT.',
  not_hu: 'This job needs a CT whose values are Hounsfield units.',
  not_registered: 'The two scans could not be aligned.',
  grids_differ: 'The two were not found in one scan: only what lies on the same voxels can be compared.',
};

/** A sentence of its own: a capital first, a full stop last. */
const sentence = (words: string): string => (words ? words.charAt(0).toUpperCase() + words.slice(1).replace(/[.\s]*$/, '.') : '');

/** Why a job did not finish, in a few plain words. */
export function failureTitle(job: Job): string {
  if (!job.error) return '';
  return failures[job.error.code] ?? (sentence(job.error.detail) || job.error.code);
}

/** Why a job did not finish, in words: ours for the known codes, then what the job itself said beyond them. */
export function jobFailure(job: Job): string {
  if (!job.error) return '';
  const title = failureTitle(job);
  if (!(job.error.code in failures)) return title;
  // "no bone was found: 0.3 ml …" after "No bone was found in this scan." would say it twice.
  const [head, rest] = [job.error.detail.split(': ')[0], job.error.detail.split(': ').slice(1).join(': ')];
  const more = sentence(rest && title.toLowerCase().startsWith(head.toLowerCase()) ? rest : job.error.detail);
  return more && more !== title ? `${title} ${more}` : title;
}

/** Warnings of jobs that speak of registration as engineers do, for planners; the job's own words with the figures come after. */
const warnings: Record<string, string> = {
  little_overlap: 'The two scans show little of the same part of the patient.',
  little_in_common: 'The two scans say next to nothing of each other: the alignment may be wrong altogether.',
  unsure: 'Aligning A to B and B to A gives different results.',
  not_converged: 'The search was stopped before it came to rest.',
  strong_deformation: 'The bending changes volumes more than a patient does between two scans.',
  ways_differ: 'Bending A to B and B to A gives different results: do not rely on it where the pictures do not agree.',
  inverse_misses: 'The bending cannot be undone well: a point carried there and back misses its place.',
  no_gain: 'Bending made the scans no more alike: only moving and turning is used.',
  rigid_part_bent: 'A bone was bent before it was made rigid again: look at its place.',
};

/** What a job that is done wants people to know. */
export function jobWarnings(job: Job): string[] {
  const list = (job.report as { warnings?: unknown } | undefined)?.warnings;
  if (!Array.isArray(list)) return [];
  return list.map((w: { code?: unknown; detail?: unknown }) => {
    const own = sentence(String(w.detail ?? w.code ?? ''));
    return [warnings[String(w.code)], own].filter(Boolean).join(' ');
  }).filter(Boolean);
}

const corrections: Record<string, string> = {
  gantry_tilt_sheared: 'Gantry tilt corrected',
  resampled_spacing: 'Uneven slice spacing resampled',
  duplicate_slices: 'Duplicate slices left out',
  missing_slices: 'Slices are missing',
  split_acquisitions: 'Two acquisitions split apart',
  localizer_set_aside: 'Localizer set aside',
  padding_replaced: 'Padding replaced',
};

export const correctionName = (code: string): string =>
  corrections[code] ?? code.replace(/_/g, ' ').replace(/^./, (c) => c.toUpperCase());

/** A minus sign, not a hyphen, and a fixed number of decimals: columns of figures line up. */
export function figure(value: number, decimals = 1): string {
  return value.toFixed(decimals).replace('-', '−');
}

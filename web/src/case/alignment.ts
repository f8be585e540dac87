// What a registration says of itself, in words for those who have to decide whether to rely on it (pure).
import type { Artefact, Job } from '../api/types';
import { figure, jobWarnings, percent } from '../ui/format';

export interface AlignmentLine {
  name: string;
  value: string;
  /** What a good value is, or what it means. */
  about: string;
  /** Not as it should be. */
  odd: boolean;
}

const models: Record<string, [string, string]> = {
  rigid: ['Rigid', 'Moves and turns the scan as a whole; bends nothing.'],
  affine: ['Affine', 'Also stretches and shears the scan as a whole.'],
  deformable: ['Deformable', 'Bends the scan: shapes and lengths change with it.'],
};

/** Half of the fixed scan: what lies outside of the other one cannot be judged in it. */
const smallShare = 0.5;
/** A voxel of a thin-slice scan: directions that differ by more disagree about where things are. */
const differMm = 1;
/** Volumes that halve or double are no movement of bone or soft tissue between two scans of one patient. */
const [squeezed, stretched] = [0.5, 2];

const mm = (value: number): string => `${figure(value)} mm`;

export function alignmentLines(transform: Artefact): AlignmentLine[] {
  const { model = '', quality: q, deformation: d } = transform.meta;
  const lines: AlignmentLine[] = [];
  const add = (name: string, value: string, about: string, odd = false) => lines.push({ name, value, about, odd });
  if (models[model]) add('Kind', models[model][0], models[model][1]);
  if (q?.overlap !== undefined) add('In common', percent(q.overlap), 'Share of the scan that stays which lies in the other one.', q.overlap < smallShare);
  const back = q?.inverse_mm;
  if (back === null) add('There and back', 'not run', 'Only one direction was computed: nothing checks it.', true);
  else if (back !== undefined) {
    add('There and back', mm(back), 'How far aligning A to B and B to A differ. Below 1 mm is usual; it proves no accuracy.', back > differMm);
  }
  if (d) {
    if (d.ways_mean_mm !== null) add('Bending, both ways', mm(d.ways_mean_mm), 'How far the two bendings differ, on average.', d.ways_mean_mm > differMm);
    add('Volume change', `×${figure(d.jacobian_least, 2)} to ×${figure(d.jacobian_most, 2)}`,
      d.folds ? 'Below 0 the tissue would run through itself: do not use it.' : 'Smallest and largest local change (Jacobian); 1 is none. No folds.',
      d.folds || d.jacobian_least < squeezed || d.jacobian_most > stretched);
    add('Bent by', `${mm(d.moved_mean_mm)}, at most ${mm(d.moved_max_mm)}`, 'Beyond moving and turning.');
    add('Undone, it misses', `${mm(d.inverse_mean_mm)}, at most ${mm(d.inverse_max_mm)}`, 'There with the bending and back with its inverse.', d.inverse_mean_mm > differMm);
  }
  if (q?.moved_mm !== undefined && q.rotation_deg !== undefined) {
    add('Moved', `${mm(q.moved_mm)}, ${figure(q.rotation_deg)}°`, 'How far the patient lay differently in the two scans.');
  }
  return lines;
}

/** What the job that made it warned of. */
export function alignmentDoubts(transform: Artefact, jobs: readonly Job[]): string[] {
  const job = jobs.find((j) => j.id === transform.job_id);
  return job ? jobWarnings(job) : [];
}

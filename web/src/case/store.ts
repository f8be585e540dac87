// One open case: what the server knows of it, kept current by events, and how the user wants to see it.
import { computed, signal } from '@preact/signals';
import { command, get, getAll, patch, post } from '../api/client';
import { onEvent, type Heard } from '../api/events';
import { mergeJobs, newlyEnded, reduceJobs } from '../api/reduce';
import { inOrder, Refresher } from '../api/refresher';
import type { Artefact, CaseDetail, Job, LevelReview } from '../api/types';
import { failureTitle, jobName } from '../ui/format';
import { reason, say, sayError } from '../ui/toast';
import { foundIn } from './groups';
import { withConfirmed } from './level_names';
import { firstVolume, structuresOf, tieOf, volumesOf, type Structure } from './model';
import { placementOf } from './placement';

/** How one structure is shown; what is not set comes from the structure itself. */
export interface Look {
  visible: boolean;
  opacity: number;
  colour: string | null;
}

const plainLook: Look = { visible: true, opacity: 1, colour: null };

export class CaseStore {
  readonly detail = signal<CaseDetail | null>(null);
  readonly artefacts = signal<Artefact[]>([]);
  readonly jobs = signal<Job[]>([]);
  /** What people said of the levels of a spine, by segmentation. */
  readonly levels = signal<ReadonlyMap<string, LevelReview>>(new Map());
  readonly error = signal('');
  readonly chosen = signal<string | null>(null);
  /** The second volume of the fused view, by its view's id. */
  readonly second = signal<string | null>(null);
  /** What was chosen for a structure, and nothing else: the rest may change with what else there is. */
  readonly looks = signal<ReadonlyMap<string, Partial<Look>>>(new Map());
  readonly volumes = computed(() => volumesOf(this.artefacts.value));
  /** What words about jobs are made of. */
  readonly known = computed(() => ({
    artefacts: this.artefacts.value, volumes: this.volumes.value, jobs: this.jobs.value,
    series: this.detail.value?.studies.flatMap((study) => study.series) ?? [],
  }));
  /** By job. A kind never changes: the map stays the same one until there are more jobs, so that what hangs on it does too. */
  readonly kinds = computed((): ReadonlyMap<string, string> => {
    const jobs = this.jobs.value;
    if (jobs.some((job) => !this.kindOfJob.has(job.id))) this.kindOfJob = new Map(jobs.map((job) => [job.id, job.kind]));
    return this.kindOfJob;
  });
  private kindOfJob: ReadonlyMap<string, string> = new Map();
  readonly structures = computed(() =>
    withConfirmed(structuresOf(this.artefacts.value, (made) => this.kinds.value.get(made.job_id)), this.levels.value));
  /** The same anatomy once more from another scan than the shown one. */
  private readonly elsewhere = computed(() => {
    const [all, shown, volumes] = [this.structures.value, this.volume.value, this.volumes.value];
    const here = (s: Structure) => shown !== null && foundIn(s.of, shown, volumes);
    return new Set(all.some((s) => s.surfaces.length > 0 && here(s)) ? all.filter((s) => !here(s)).map((s) => s.key) : []);
  });
  /** Not shown until somebody asks for it: what hides others, and what was found elsewhere than in the scans that are seen. */
  private readonly reserved = computed(() => {
    const [second, volumes] = [this.partner.value?.volume, this.volumes.value];
    const seen = (s: Structure) => !this.elsewhere.value.has(s.key) || (second !== undefined && foundIn(s.of, second, volumes));
    return new Set(this.structures.value.filter((s) => s.covers || !seen(s)).map((s) => s.key));
  });
  readonly volume = computed(() =>
    this.volumes.value.find((volume) => volume.view.id === this.chosen.value) ?? firstVolume(this.volumes.value) ?? null);
  /** Volumes that can lie over the shown one, with the way there. */
  readonly partners = computed(() => {
    const shown = this.volume.value;
    if (!shown) return [];
    return this.volumes.value.filter((v) => v.view.id !== shown.view.id)
      .flatMap((volume) => {
        const tie = tieOf(shown, volume, this.artefacts.value);
        return tie ? [{ volume, tie }] : [];
      });
  });
  /** The one that lies over it now. */
  readonly partner = computed(() => this.partners.value.find((p) => p.volume.view.id === this.second.value) ?? null);
  /** Where surfaces stand in the 3D scene, and which are not drawn in it. */
  readonly placement = computed(() => placementOf(this.structures.value, this.volume.value, this.volumes.value, this.artefacts.value));
  /** When each job ended that was told of, and the jobs that were started from this page. */
  private told: Map<string, string> | null = null;
  private readonly own = new Set<string>();
  private readonly off: () => void;
  private readonly ending = new AbortController();
  private readonly again = new Refresher({
    detail: () => this.readDetail(),
    jobs: () => this.readJobs(),
    artefacts: () => this.readArtefacts(),
    levels: () => this.readLevels(),
  }, sayError);

  constructor(readonly id: string) {
    this.off = onEvent((event) => this.hear(event));
    void this.load();
  }

  close(): void {
    this.off();
    this.again.close();
    this.ending.abort();
  }

  look(key: string): Look {
    return { ...plainLook, visible: !this.reserved.value.has(key), ...this.looks.value.get(key) };
  }

  /** Whether the 3D scene draws it: of another scan only what was asked for, since surfaces of two scans would lie in one another. */
  inScene(key: string): boolean {
    return this.look(key).visible && (!this.elsewhere.value.has(key) || this.looks.value.get(key)?.visible === true);
  }

  /** Who shows again what was hidden has chosen nothing: once something newer covers it, it is not to lie in that. */
  setLook(keys: readonly string[], change: Partial<Look>): void {
    const looks = new Map(this.looks.value);
    for (const key of keys) {
      const { visible, ...rest }: Partial<Look> = { ...looks.get(key), ...change };
      const usual = visible === undefined || (visible === !this.reserved.value.has(key) && !this.elsewhere.value.has(key));
      looks.set(key, usual ? rest : { ...rest, visible });
    }
    this.looks.value = looks;
  }

  async load(): Promise<void> {
    try {
      await Promise.all([this.readDetail(), this.readJobs(), this.readArtefacts()]);
      this.error.value = '';
    } catch (cause) {
      if (!this.ending.signal.aborted) this.error.value = reason(cause);
    }
  }

  private readonly readDetail = inOrder(() => get<CaseDetail>(`/cases/${this.id}`, { signal: this.ending.signal }),
    (detail) => { this.detail.value = detail; });

  private readonly readJobs = inOrder(() => getAll<Job>(`/cases/${this.id}/jobs`, this.ending.signal), (jobs) => {
    this.jobs.value = mergeJobs(this.jobs.value, jobs);
    this.sayEnds();
  });

  /** Tells of jobs that ended since the list was last read: failures of any, and what was started here. */
  private sayEnds(): void {
    const { ended, told } = newlyEnded(this.told, this.jobs.value);
    this.told = told;
    for (const job of ended) {
      if (job.state === 'failed' || job.state === 'dead') say(`${jobName(job.kind)}: ${failureTitle(job) || 'it failed.'}`, true);
      else if (job.state === 'done' && this.own.has(job.id)) say(`${jobName(job.kind)}: done.`);
    }
  }

  private readonly readArtefacts = inOrder(() => getAll<Artefact>(`/cases/${this.id}/artefacts`, this.ending.signal), (fresh) => {
    // Same rows stay the same objects, so that nothing which is on the screen is loaded again.
    const known = new Map(this.artefacts.value.map((artefact) => [artefact.id, artefact]));
    this.artefacts.value = fresh.map((artefact) => {
      const old = known.get(artefact.id);
      return old && old.superseded === artefact.superseded && old.sha256 === artefact.sha256 ? old : artefact;
    });
    // Most cases have no spine whose levels somebody could have named. A case is shown without them rather than not at all.
    if (this.artefacts.value.some((artefact) => artefact.meta.levels && !known.has(artefact.id))) {
      this.readLevels().catch(() => this.again.ask('levels'));
    }
  });

  private readonly readLevels = inOrder(() => get<{ items: LevelReview[] }>(`/cases/${this.id}/levels`, { signal: this.ending.signal }),
    ({ items }) => { this.levels.value = new Map(items.map((review) => [review.artefact_id, review])); });

  private hear(event: Heard): void {
    if (event.kind !== 'resync' && event.case_id !== this.id) return;
    const { state, stale } = reduceJobs(this.jobs.value, event);
    this.jobs.value = state;
    if (stale) this.again.ask('jobs');
    if (event.kind === 'artefact.made' || event.kind === 'resync') this.again.ask('artefacts');
    if (event.kind === 'levels.stated' || event.kind === 'resync') this.again.ask('levels');
    if (event.kind !== 'job.changed' && event.kind !== 'levels.stated') this.again.ask('detail');
  }

  /** Renames, archives or takes back the case. */
  async change(what: { title?: string; state?: 'archived' | 'ready' }): Promise<void> {
    try {
      this.detail.value = await patch<CaseDetail>(`/cases/${this.id}`, what);
    } catch (cause) {
      sayError(cause);
    }
  }

  /** Starts a job; throws what the server says against it. The queue answers the same press twice with the same job. */
  async run(kind: string, params: Record<string, unknown>, inputs: { role: string; id: string }[], key: string): Promise<Job> {
    const body = { kind, params, inputs: inputs.map((i) => i.id), roles: inputs.map((i) => i.role) };
    const job = await post<Job>(`/cases/${this.id}/jobs`, body, { idempotencyKey: key });
    this.own.add(job.id);
    this.jobs.value = [job, ...this.jobs.value.filter((other) => other.id !== job.id)];
    this.again.ask('jobs'); // it may have ended before this answer came
    return job;
  }

  /** Says which vertebra is which; throws what the server says against it. */
  async stateLevels(artefact: string, levels: Record<string, string>): Promise<void> {
    const review = await post<LevelReview>(`/cases/${this.id}/levels`, { artefact_id: artefact, levels });
    this.levels.value = new Map(this.levels.value).set(artefact, review);
  }

  async command(job: Job, what: 'cancel' | 'retry' | 'acknowledge'): Promise<void> {
    try {
      const moved = await command<Job>(`/jobs/${job.id}/${what}`);
      this.jobs.value = this.jobs.value.map((other) => (other.id === moved.id ? moved : other));
      this.again.ask('jobs');
    } catch (cause) {
      sayError(cause);
    }
  }
}

// What the API sends and takes, as api/openapi.yaml says it. Names are the wire's.

export type Role = 'admin' | 'technician' | 'planner' | 'surgeon' | 'viewer';
export type CaseState = 'receiving' | 'processing' | 'ready' | 'attention' | 'archived';
export type JobState = 'queued' | 'running' | 'done' | 'failed' | 'dead' | 'cancelled';

export interface Account {
  id: string;
  login: string;
  display_name: string;
  role: Role;
  must_change_password?: boolean;
  disabled?: boolean;
  locked_until?: string | null;
  created_at?: string;
  revision?: number;
}

export interface Session {
  account: Account;
  organisation: { id: string; name: string };
  csrf_token: string;
  expires_at: string;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface Patient {
  id: string;
  issuer: string;
  name: string;
  birth_date: string;
  sex: string;
}

export interface CaseCounts {
  studies: number;
  series: number;
  instances: number;
  volumes: number;
  segmentations: number;
  meshes: number;
}

export interface CaseProgress {
  running: number;
  queued: number;
  failed: number;
  fraction: number;
}

export interface CaseItem {
  id: string;
  number: number;
  title: string;
  state: CaseState;
  patient: Patient;
  created_at: string;
  updated_at: string;
  revision: number;
  counts: CaseCounts;
  modalities: string[];
  progress: CaseProgress;
}

export interface Series {
  id: string;
  series_uid: string;
  modality: string;
  number: number | null;
  description: string;
  body_part: string;
  instance_count: number;
}

export interface Study {
  id: string;
  study_uid: string;
  date: string;
  description: string;
  series: Series[];
}

export interface CaseDetail extends CaseItem {
  studies: Study[];
}

export interface GridMeta {
  dim: [number, number, number];
  spacing_mm: [number, number, number];
  origin_lps: [number, number, number];
  /** Row major, columns are the axes. */
  direction: number[];
}

export interface ViewPart {
  k0: number;
  k1: number;
  offset: number;
  length: number;
}

export interface ViewLevel {
  dim: [number, number, number];
  factor: [number, number, number];
  spacing_mm: [number, number, number];
  origin_lps: [number, number, number];
  parts: ViewPart[];
}

export interface ViewMeta {
  format: number;
  type: 'int16' | 'uint8' | 'float32';
  levels: ViewLevel[];
}

export interface Correction {
  code: string;
  detail: string;
}

export interface Segment {
  label: number;
  name: string;
  code?: { scheme: string; value: string; meaning: string };
  colour: string;
  voxels?: number;
  volume_ml?: number;
  components?: number;
  /** 0 to 1, where the job says how sure it is. */
  confidence?: number;
  /** The job left this one for a person to look at. */
  state?: string;
  review?: boolean | string;
  /** Of a vertebra whose level is named: L2. */
  level?: string | null;
  /** What a person asked for: all from this value up. */
  threshold_hu?: number;
}

/** What a registration says of itself (workers/jobs/register.c). */
export interface AlignmentQuality {
  nmi: number;
  /** Share of the fixed image that lies in the moving one. */
  overlap: number;
  /** How far both directions lie apart; null when only one was run. */
  inverse_mm: number | null;
  moved_mm: number;
  rotation_deg: number;
}

/** What is told of a deformation besides. */
export interface DeformationQuality {
  jacobian_least: number;
  jacobian_most: number;
  folds: boolean;
  inverse_mean_mm: number;
  inverse_max_mm: number;
  ways_mean_mm: number | null;
  moved_mean_mm: number;
  moved_max_mm: number;
}

/** How well two label maps agree in one label; lengths are null where one of both is empty. */
export interface LabelScore {
  label: number;
  dice: number;
  assd_mm: number | null;
  hd95_mm: number | null;
  a_ml: number;
  b_ml: number;
}

/** The union of what artefacts carry; which members are there depends on the kind. */
export interface ArtefactMeta {
  grid?: GridMeta;
  view?: ViewMeta;
  voxel_type?: string;
  modality?: string;
  series_uid?: string;
  frame_of_reference_uid?: string;
  series_description?: string;
  value_range?: [number, number];
  window?: { centre: number; width: number };
  /** Of a volume the first three; of a transform the rest. */
  quality?: { slice_thickness_mm?: number; slice_spacing_mm?: number; gate?: 'good' | 'warn' | 'no_guide' } & Partial<AlignmentQuality>;
  corrections?: Correction[];
  units?: 'HU' | '1';
  segments?: Segment[];
  /** Of a spine, as its job left it: "named", or "unconfirmed"; people's words are LevelReview. */
  levels?: string;
  segment?: number;
  name?: string;
  colour?: string;
  lod?: number;
  triangles?: number;
  vertices?: number;
  bounds_lps?: [[number, number, number], [number, number, number]];
  closed?: boolean;
  manifold?: boolean;
  boundary_edges?: number;
  boundary_reason?: string;
  surface_mm2?: number;
  volume_ml?: number;
  /** Of a transform: LPS mm of the fixed scan → the moving one, four rows of four, and back. */
  matrix?: number[][];
  inverse?: number[][];
  /** A deformable transform is more than its matrix. */
  model?: string;
  deformation?: DeformationQuality;
  /** Of a comparison. */
  labels?: LabelScore[];
  mean_dice?: number | null;
  /** "moving" for a scan that was resampled onto another one. */
  of?: string;
}

export interface Artefact {
  id: string;
  case_id: string;
  series_id: string | null;
  job_id: string;
  name: string;
  kind: string;
  sha256: string;
  bytes: number;
  media_type: string;
  meta: ArtefactMeta;
  /** What its job read, by the names it had there. */
  made_from?: { name: string; sha256: string }[];
  superseded: boolean;
  created_at: string;
  url: string;
}

/** Something that a job reads; the instances of an import are one entry, of kind "instance". */
export interface JobInput {
  role: string;
  /** Null when no artefact of the case holds these bytes any more. */
  kind: string | null;
  artefact_id: string | null;
  series_id: string | null;
  modality: string;
  dim: [number, number, number] | null;
  count: number;
}

export interface Job {
  id: string;
  case_id: string;
  kind: string;
  version: number;
  state: JobState;
  priority: number;
  attempts: number;
  max_attempts: number;
  progress: number;
  stage: string;
  cancel_requested?: boolean;
  inputs: JobInput[];
  error: { code: string; detail: string } | null;
  report?: unknown;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  /** When somebody dismissed its failure; null while that still asks for attention. */
  acknowledged_at: string | null;
}

/** What one person said of the vertebrae of a segmentation: label → level. */
export interface LevelStatement {
  account_id: string;
  name: string;
  /** Null when it is the only one and somebody else's. */
  levels: Record<string, string> | null;
  stated_at: string;
}

export interface LevelReview {
  artefact_id: string;
  state: 'once' | 'disputed' | 'confirmed';
  /** What two people or more agree on; null before. */
  levels: Record<string, string> | null;
  statements: LevelStatement[];
}

export interface JobParam {
  name: string;
  type: 'number' | 'integer' | 'boolean' | 'text';
  default: number | boolean | string;
  minimum?: number;
  maximum?: number;
  unit: string;
  help: string;
  choices?: string[];
}

export interface JobKind {
  name: string;
  title: string;
  version: number;
  summary: string;
  inputs: { name: string; required: boolean; artefact: string; help: string }[];
  params: JobParam[];
}

export interface JobPreset {
  id: string;
  title: string;
  detail: string;
  /** What the scan must be and show, what comes of it, and how long that usually takes: a sentence each. */
  needs: string;
  yields: string;
  takes: string;
  modality: string;
  kind: string;
  /** The kind made for this is not installed; this one stands in. */
  fallback: boolean;
  params: Record<string, number | boolean | string>;
}

export interface JobKinds {
  kinds: JobKind[];
  presets: JobPreset[];
}

export interface Token {
  id: string;
  name: string;
  role: Role;
  created_at: string;
  expires_at: string | null;
  revoked_at?: string | null;
  revoked?: boolean;
  last_used_at?: string | null;
  token?: string;
}

export interface Peer {
  id: string;
  name: string;
  ae_title: string;
  called_ae_title: string;
  address: string | null;
  port: number | null;
  tls: boolean;
  may_store: boolean;
  created_at: string;
}

export interface UploadInstance {
  file: string;
  sop_uid: string;
  status: 'stored' | 'duplicate' | 'conflict' | 'set_aside' | 'refused';
  /** A stable code. */
  reason?: string;
  /** A sentence for people. */
  detail?: string;
}

export interface UploadAnswer {
  accepted: number;
  duplicate: number;
  conflict: number;
  refused: number;
  instances: UploadInstance[];
  cases: string[];
}

/** GET /settings, for those who manage peers: where this installation listens for DICOM. */
export interface ListenerSettings {
  dicom?: { ae_title: string; port: number | null; tls_port?: number | null };
}

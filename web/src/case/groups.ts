// How the structures of a case are listed: by the segmentation that gave them, and a long one by kind of anatomy.
import type { Artefact, Job, Segment } from '../api/types';
import type { KindOf, ShownVolume, Structure } from './model';

export interface StructureGroup {
  key: string;
  title: string;
  structures: Structure[];
}

/** What one job found in one scan. */
export interface StructureSet {
  key: string;
  title: string;
  of: Artefact;
  /** The scan it was found in, null when that is not shown any more. */
  scan: ShownVolume | null;
  groups: StructureGroup[];
  /** When it was made, where another of this title was made of the same scan; else empty. */
  made: string;
  /** What earlier jobs answered to the same question about the same scan, the newest first: this one counts in their place. */
  earlier: StructureSet[];
  /** How many of its structures a person has to check. */
  review: number;
  total: number;
}

/** A set with more structures than this is listed in groups that can be folded. */
const many = 12;

const families: [string, RegExp][] = [
  ['Vertebrae', /^(vertebra|sacrum|coccyx)\b/i],
  ['Discs', /^disc\b/i],
  ['Canal, cord and nerves', /\b(canal|cord|nerves?|roots?|dural|cauda|flavum)\b/i],
];

const titles: Record<string, string> = {
  'segment.bone': 'Bone', 'segment.head': 'Head', 'segment.spine': 'Spine', 'segment.leg': 'Lower leg',
};

/** The scan that a segmentation was made of; of older servers, one of its series. */
export function scanOf(segmentation: Artefact, volumes: readonly ShownVolume[]): ShownVolume | null {
  const made = segmentation.made_from ?? [];
  return volumes.find((v) => v.source !== null && made.some((m) => m.sha256 === v.source?.sha256))
    ?? volumes.find((v) => v.view.series_id === segmentation.series_id) ?? null;
}

/**
 * Whether the structures of a segmentation were found in this scan. A scan that was resampled onto another one has that one's series,
 * and nothing of what was found in it.
 */
export function foundIn(segmentation: Artefact, scan: ShownVolume, volumes: readonly ShownVolume[]): boolean {
  const own = scanOf(segmentation, volumes);
  if (!own || own.view.id === scan.view.id) return own !== null;
  return own.view.series_id === scan.view.series_id && own.meta.of !== 'moving' && scan.meta.of !== 'moving';
}

export const scanName = (scan: ShownVolume | null | undefined): string => (scan ? `${scan.meta.modality ?? '?'} · ${scan.name}` : '');

export function titleOf(segmentation: Artefact, kind: string | undefined): string {
  const segments = segmentation.meta.segments ?? [];
  const title = titles[kind ?? ''] ?? (segments.length === 1 ? segments[0].name : 'Structures');
  const from = segments.length === 1 ? segments[0].threshold_hu : undefined;
  return from === undefined ? title : `${title} from ${from} HU`;
}

/**
 * Whether two segmentations answer one question, so that the later one counts: one kind of job, one scan. A threshold that somebody
 * chose is a question of its own, as thin walls and dense cores are both bone: people keep several and look at each.
 */
function sameQuestion(a: StructureSet, b: StructureSet, kindOf: KindOf): boolean {
  const [kind, chosen] = [kindOf(a.of), (of: Artefact) => (of.meta.segments ?? []).flatMap((s) => s.threshold_hu ?? []).join()];
  return kind !== undefined && kindOf(b.of) === kind && a.scan !== null && a.scan === b.scan && chosen(a.of) === chosen(b.of);
}

/** To the second: jobs of one minute are told apart by it. */
export const clock = (iso: string): string => new Date(iso).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** “Head · CT · Skull 0.6 mm · 15:40”: what tells one segmentation from another. */
export function segmentationName(segmentation: Artefact, volumes: readonly ShownVolume[], jobs: readonly Job[]): string {
  const kind = jobs.find((job) => job.id === segmentation.job_id)?.kind;
  return [titleOf(segmentation, kind), scanName(scanOf(segmentation, volumes)), clock(segmentation.created_at)].filter(Boolean).join(' · ');
}

function familyOf(name: string): string {
  return families.find(([, pattern]) => pattern.test(name))?.[0] ?? 'Other parts';
}

function groupsOf(key: string, structures: Structure[]): StructureGroup[] {
  if (structures.length <= many) return [{ key, title: '', structures }];
  const groups = new Map<string, Structure[]>();
  for (const structure of structures) {
    const family = familyOf(structure.name);
    groups.set(family, [...(groups.get(family) ?? []), structure]);
  }
  return [...groups].map(([title, list]) => ({ key: `${key}/${title}`, title, structures: list }));
}

/**
 * The sets of the shown scan come first, and of each scan the newest; those that a later answer to the same question replaced hang
 * below it. `kindOf` says what kind of job gave an artefact.
 */
export function setsOf(structures: readonly Structure[], volumes: readonly ShownVolume[], shown: ShownVolume | null,
  kindOf: KindOf): StructureSet[] {
  const bySegmentation = new Map<Artefact, Structure[]>();
  for (const structure of structures) bySegmentation.set(structure.of, [...(bySegmentation.get(structure.of) ?? []), structure]);
  const own = (set: StructureSet) => Number(shown !== null && foundIn(set.of, shown, volumes));
  const sets = [...bySegmentation].map(([of, list]): StructureSet => {
    const [scan, title] = [scanOf(of, volumes), titleOf(of, kindOf(of))];
    return { key: of.id, title, of, scan, made: '', earlier: [], groups: groupsOf(of.id, list), review: list.filter((s) => s.review).length, total: list.length };
  });
  for (const set of sets) {
    if (sets.some((other) => other !== set && other.title === set.title && other.scan === set.scan)) set.made = clock(set.of.created_at);
  }
  sets.sort((a, b) => own(b) - own(a) || b.of.created_at.localeCompare(a.of.created_at));
  const current: StructureSet[] = [];
  for (const set of sets) {
    const newer = current.find((c) => sameQuestion(set, c, kindOf));
    if (newer) newer.earlier.push(set);
    else current.push(set);
  }
  return current;
}

/** A name without what the head of its set says for all of them. */
export const shortName = (name: string): string => name.replace(/ \(level unconfirmed\)/, '');

/** What a label is called in both of two segmentations; where they call it differently, both names: it may be another thing. */
export function partName(label: number, a: readonly Segment[] = [], b: readonly Segment[] = []): string {
  const names = [a, b].flatMap((segments) => segments.find((s) => s.label === label)?.name ?? []).map(shortName);
  return [...new Set(names)].join(' / ') || `Label ${label}`;
}

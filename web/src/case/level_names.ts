// Levels of a spine as two people name them. Pure; the server has the same rules (server/domain/levels.c) and the last word.
import type { Artefact, LevelReview, Segment } from '../api/types';
import type { Structure } from './model';

const regions: readonly [string, number, number][] = [['C', 7, 7], ['T', 12, 13], ['L', 5, 6]];

/** All that may be said, from the top down: a thirteenth thoracic and a sixth lumbar vertebra occur. */
export const levelNames: readonly string[] = regions.flatMap(([letter, , most]) => Array.from({ length: most }, (_, n) => `${letter}${n + 1}`));

/** From the top down as most people have them. */
const usual: readonly string[] = regions.flatMap(([letter, usually]) => Array.from({ length: usually }, (_, n) => `${letter}${n + 1}`));

/** Whether one level may lie right below another. */
export function follows(upper: string, lower: string): boolean {
  const [from, to] = [Number(upper.slice(1)), Number(lower.slice(1))];
  if (upper.charAt(0) === lower.charAt(0)) return to === from + 1;
  return to === 1 && (upper.charAt(0) === 'C' ? lower.charAt(0) === 'T' && from === 7 : upper.charAt(0) === 'T' && lower.charAt(0) === 'L' && from >= 11);
}

/** What lies around the levels that most people do not have. */
const odd: Record<string, { above: string; below: string }> = { T13: { above: 'T12', below: 'L1' }, L6: { above: 'L5', below: '' } };
const below = (level: string): string => odd[level]?.below ?? (level === 'L5' ? 'L6' : usual[usual.indexOf(level) + 1] ?? '');
const above = (level: string): string => odd[level]?.above ?? usual[usual.indexOf(level) - 1] ?? '';

/** The list with one level chosen: what lies below follows as in most people, and so does all that lies above, where that no longer fits. */
export function choose(levels: readonly string[], at: number, level: string): string[] {
  const next = [...levels];
  next[at] = level;
  for (let i = at + 1; i < next.length; i++) next[i] = next[i - 1] && below(next[i - 1]);
  const fits = at === 0 || (next[at - 1] !== '' && follows(next[at - 1], level));
  for (let i = at - 1; i >= 0 && !fits; i--) next[i] = next[i + 1] && above(next[i + 1]);
  return next;
}

/** What is wrong with a list, empty when nothing: every vertebra has a level, and each follows the one above it. */
export function levelsFault(levels: readonly string[]): string {
  if (levels.some((level) => !level)) return levels.every((level) => !level) ? '' : 'Not every vertebra can have a level so: one of them must be another.';
  const at = levels.findIndex((level, i) => i > 0 && !follows(levels[i - 1], level));
  return at < 0 ? '' : `${levels[at]} does not come right below ${levels[at - 1]}.`;
}

/** The vertebrae of a segmentation from the top down. */
export function vertebraeOf(segmentation: Artefact): Segment[] {
  return (segmentation.meta.segments ?? []).filter((s) => /^vertebra /i.test(s.name)).sort((a, b) => a.label - b.label);
}

/** “T9 to L5”. */
export function spanOf(levels: Record<string, string>): string {
  const sorted = Object.entries(levels).sort((a, b) => Number(a[0]) - Number(b[0])).map(([, level]) => level);
  return sorted.length > 1 ? `${sorted[0]} to ${sorted[sorted.length - 1]}` : sorted[0] ?? '';
}

/** A disc by the levels around it: its job counted the vertebrae from the top, or named the one above it. */
function discName(name: string, vertebrae: readonly Segment[], levels: readonly string[]): string | null {
  const [, number] = /^disc below vertebra (\d+) of \d+\b/i.exec(name) ?? [];
  const [, named, under] = /^disc ([CTL]\d+)-([CTLS]\d+)$/i.exec(name) ?? [];
  const at = named ? vertebrae.findIndex((s) => s.level === named) : Number(number ?? 0) - 1;
  const [upper, lower] = [levels[at], levels[at + 1] ?? (under === 'S1' ? 'S1' : '')];
  return upper ? `Disc ${lower ? `${upper}-${lower}` : `below ${upper}`}` : null;
}

/** The structures with the names that two people have confirmed; all others keep those of their job. */
export function withConfirmed(structures: readonly Structure[], reviews: ReadonlyMap<string, LevelReview>): Structure[] {
  return structures.map((structure) => {
    const levels = reviews.get(structure.of.id)?.levels;
    if (!levels) return structure;
    const level = levels[String(structure.label)];
    const vertebrae = vertebraeOf(structure.of);
    const called = level ? `Vertebra ${level}` : discName(structure.called, vertebrae, vertebrae.map((s) => levels[String(s.label)]));
    return called ? { ...structure, called, name: structure.name.replace(structure.called, called), mark: level ?? structure.mark } : structure;
  });
}

/** The segments of a segmentation under the names that its structures go by. */
export function segmentsAsNamed(of: Artefact, structures: readonly Structure[]): Segment[] {
  const named = new Map(structures.filter((s) => s.of.id === of.id).map((s) => [s.label, s.called]));
  return (of.meta.segments ?? []).map((segment) => ({ ...segment, name: named.get(segment.label) ?? segment.name }));
}

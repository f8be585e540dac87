// Reads parts of a page again: soon after it is asked to, all that was asked for by then at once, and what could not be read
// once more later, each time after twice as long.
import { ApiError } from './client';

/** Events come in bursts: what they ask for within this time is read once. */
const soon_ms = 250;
const firstPause_ms = 2_000;
const longestPause_ms = 60_000;

/** Whether the same request may do better later: the server was not reached, is busy or failed. */
export const mayPass = (cause: unknown): boolean => !(cause instanceof ApiError) || cause.status === 0 || cause.status === 429 || cause.status >= 500;

/**
 * A reading whose answers are taken in the order in which they were asked for: one that a later one has overtaken is older than
 * what is known, and would stay.
 */
export function inOrder<T>(ask: () => Promise<T>, take: (answer: T) => void): () => Promise<void> {
  let [asked, taken] = [0, 0];
  return async () => {
    const mine = ++asked;
    const answer = await ask();
    if (mine < taken) return;
    taken = mine;
    take(answer);
  };
}

export class Refresher<Part extends string> {
  private readonly asked = new Set<Part>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private due = Infinity;
  private pause_ms = firstPause_ms;
  private closed = false;

  /** `failed` hears of the first failure in a row only. */
  constructor(private readonly read: Record<Part, () => Promise<void>>, private readonly failed: (cause: unknown) => void) {}

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  ask(part: Part, after_ms = soon_ms): void {
    if (this.closed) return;
    this.asked.add(part);
    const due = Date.now() + after_ms;
    if (this.due <= due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => void this.refresh(), after_ms);
  }

  private async refresh(): Promise<void> {
    this.due = Infinity;
    const parts = [...this.asked];
    this.asked.clear();
    const ends = await Promise.allSettled(parts.map((part) => this.read[part]()));
    if (this.closed) return;
    const failures = ends.flatMap((end, i) => (end.status === 'rejected' ? [{ part: parts[i], cause: end.reason as unknown }] : []));
    if (failures.length === 0) {
      this.pause_ms = firstPause_ms;
      return;
    }
    if (this.pause_ms === firstPause_ms) this.failed(failures[0].cause);
    for (const { part, cause } of failures) if (mayPass(cause)) this.ask(part, this.pause_ms);
    this.pause_ms = Math.min(2 * this.pause_ms, longestPause_ms);
  }
}

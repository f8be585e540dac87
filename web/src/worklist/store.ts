// The cases on the screen: pages of the list, search and state on the server, sorting here, events folded in.
import { signal } from '@preact/signals';
import { get, post } from '../api/client';
import { onEvent, type Heard } from '../api/events';
import { reduceCases } from '../api/reduce';
import { mayPass } from '../api/refresher';
import type { CaseItem, CaseState, Page } from '../api/types';
import { reason } from '../ui/toast';

export type SortKey = 'number' | 'patient' | 'birth' | 'modality' | 'images' | 'state' | 'updated';

export interface Sort {
  key: SortKey;
  down: boolean;
}

const stateOrder: Record<CaseState, number> = { attention: 0, processing: 1, receiving: 2, ready: 3, archived: 4 };

const keyOf: Record<SortKey, (item: CaseItem) => string | number> = {
  number: (item) => item.number,
  patient: (item) => item.patient.name.toLocaleLowerCase(),
  birth: (item) => item.patient.birth_date,
  modality: (item) => item.modalities.join(),
  images: (item) => item.counts.instances,
  state: (item) => stateOrder[item.state] ?? 9,
  updated: (item) => Date.parse(item.updated_at),
};

export function sortCases(items: readonly CaseItem[], sort: Sort): CaseItem[] {
  const key = keyOf[sort.key];
  const sign = sort.down ? -1 : 1;
  return [...items].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    const order = typeof x === 'string' && typeof y === 'string' ? x.localeCompare(y) : Number(x) - Number(y);
    return sign * order || b.number - a.number;
  });
}

const pageSize = 100;
/** A series in arrival says so many times a second: rows are read again at most twice in one. */
const soon_ms = 500;
/** Until a row that could not be read is asked for again. */
const retry_ms = 5_000;

export class WorklistStore {
  readonly items = signal<CaseItem[]>([]);
  readonly next = signal<string | null>(null);
  readonly loading = signal(true);
  readonly error = signal('');
  private query = '';
  private state = '';
  private generation = 0;
  private readonly stale = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;
  private readonly off: () => void;

  constructor() {
    this.off = onEvent((event) => this.hear(event));
  }

  close(): void {
    this.closed = true;
    this.off();
    clearTimeout(this.timer);
    this.generation++;
  }

  /** What is searched for is a patient's: it goes in a body, never in a URL (histories and proxies keep those). */
  private page(cursor: string | null): Promise<Page<CaseItem>> {
    const asked: Record<string, string> = {};
    if (this.state) asked['state'] = this.state;
    if (cursor) asked['cursor'] = cursor;
    if (this.query) return post('/cases/search', { q: this.query, limit: pageSize, ...asked });
    return get(`/cases?${new URLSearchParams({ limit: String(pageSize), ...asked })}`);
  }

  /** Reads the first page for a search; an answer that was overtaken by another search is dropped. */
  async load(query: string, state: string): Promise<void> {
    this.query = query;
    this.state = state;
    const mine = ++this.generation;
    this.loading.value = true;
    try {
      const page = await this.page(null);
      if (mine !== this.generation) return;
      this.items.value = page.items;
      this.next.value = page.next;
      this.error.value = '';
    } catch (cause) {
      if (mine === this.generation) this.error.value = reason(cause);
    } finally {
      if (mine === this.generation) this.loading.value = false;
    }
  }

  async more(): Promise<void> {
    const mine = this.generation;
    const page = await this.page(this.next.value);
    if (mine !== this.generation) return;
    const known = new Set(this.items.value.map((item) => item.id));
    this.items.value = [...this.items.value, ...page.items.filter((item) => !known.has(item.id))];
    this.next.value = page.next;
  }

  private hear(event: Heard): void {
    const { state, stale } = reduceCases(this.items.value, event);
    this.items.value = state;
    for (const id of stale) this.stale.add(id);
    if (this.stale.size > 0) this.timer ??= setTimeout(() => void this.refresh(), soon_ms);
  }

  /** One at a time, and no other reading of the list in between: an older answer must not come after a newer one. */
  private async refresh(): Promise<void> {
    const mine = this.generation;
    const ids = [...this.stale];
    this.stale.clear();
    const known = new Map(this.items.value.map((item, index) => [item.id, index]));
    if (ids.includes('*') || ids.length > 8 || ids.some((id) => !known.has(id))) {
      await this.load(this.query, this.state);
      this.againIn(soon_ms);
      return;
    }
    const rows = await Promise.allSettled(ids.map((id) => get<CaseItem>(`/cases/${id}`)));
    if (this.closed) return;
    const fresh = new Map(rows.flatMap((row) => (row.status === 'fulfilled' ? [[row.value.id, row.value] as const] : [])));
    const failed = rows.some((row) => row.status === 'rejected');
    rows.forEach((row, i) => { if (row.status === 'rejected' && mayPass(row.reason)) this.stale.add(ids[i]); });
    if (this.loading.value || mine !== this.generation) for (const id of ids) this.stale.add(id);
    else this.items.value = this.items.value.map((item) => fresh.get(item.id) ?? item);
    this.againIn(failed ? retry_ms : soon_ms);
  }

  private againIn(ms: number): void {
    this.timer = this.stale.size > 0 && !this.closed ? setTimeout(() => void this.refresh(), ms) : undefined;
  }
}

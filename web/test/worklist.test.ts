import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { setCsrfToken } from '../src/api/client';
import type { Heard } from '../src/api/events';
import { WorklistStore } from '../src/worklist/store';

const live = vi.hoisted(() => ({ tell: (_event: unknown): void => undefined }));
vi.mock('../src/api/events', () => ({ onEvent: (hear: (event: unknown) => void) => { live.tell = hear; return () => undefined; } }));

interface Asked {
  url: string;
  method: string;
  body: Record<string, unknown> | null;
  csrf: string | null;
}

let asked: Asked[] = [];
let answers: unknown[] = [];

beforeEach(() => {
  asked = [];
  answers = [];
  setCsrfToken('token');
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    const body = typeof init.body === 'string' ? (JSON.parse(init.body) as Record<string, unknown>) : null;
    asked.push({ url, method: init.method ?? 'GET', body, csrf: (init.headers as Headers).get('X-CSRF-Token') });
    return Promise.resolve(new Response(JSON.stringify(answers.shift() ?? { items: [], next: null })));
  });
});
afterEach(() => vi.unstubAllGlobals());

const row = (updated_at: string) => ({ id: 'c', number: 1, state: 'ready', updated_at });

/** A list that has read one row, as it was at the start of the year; time passes when it is told to. */
async function withRow(body: (store: WorklistStore) => Promise<void>): Promise<void> {
  vi.useFakeTimers();
  try {
    answers = [{ items: [row('2026-01-01T00:00:00Z')], next: null }];
    const store = new WorklistStore();
    await store.load('', '');
    await body(store);
  } finally {
    vi.useRealTimers();
  }
}

describe('the work list', () => {
  it('asks without a search by GET', async () => {
    const store = new WorklistStore();
    await store.load('', 'ready');
    store.close();
    expect(asked).toEqual([{ url: '/api/v1/cases?limit=100&state=ready', method: 'GET', body: null, csrf: null }]);
  });

  it('searches in a body and never in the URL, page after page', async () => {
    answers = [{ items: [], next: '1_a' }, { items: [], next: null }];
    const store = new WorklistStore();
    await store.load('Müller 1961', 'ready');
    await store.more();
    store.close();
    const search = { q: 'Müller 1961', limit: 100, state: 'ready' };
    expect(asked.map((one) => one.body)).toEqual([search, { ...search, cursor: '1_a' }]);
    for (const one of asked) {
      expect(one).toMatchObject({ url: '/api/v1/cases/search', method: 'POST', csrf: 'token' });
    }
    expect(store.next.value).toBeNull();
  });

  it('drops the answer to a search that was overtaken', async () => {
    let late: (answer: Response) => void = () => undefined;
    const store = new WorklistStore();
    const page = (next: string) => new Response(JSON.stringify({ items: [], next }));
    vi.stubGlobal('fetch', () => new Promise<Response>((resolve) => { late = resolve; }));
    const first = store.load('a', '');
    vi.stubGlobal('fetch', () => Promise.resolve(page('second')));
    await store.load('ab', '');
    late(page('first'));
    await first;
    store.close();
    expect(store.next.value).toBe('second');
  });

  it('asks for a row again that could not be read', async () => {
    await withRow(async (store) => {
      const plain = globalThis.fetch;
      vi.stubGlobal('fetch', () => Promise.resolve(new Response('', { status: 503 })));
      live.tell({ kind: 'case.changed', case_id: 'c' } satisfies Partial<Heard>);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(store.items.value[0].updated_at).toBe('2026-01-01T00:00:00Z');
      vi.stubGlobal('fetch', plain);
      answers = [row('2026-01-01T00:00:09Z')];
      await vi.advanceTimersByTimeAsync(10_000);
      store.close();
      expect(store.items.value[0].updated_at).toBe('2026-01-01T00:00:09Z');
    });
  });

  it('reads a row once at a time, so that no older answer comes after a newer one', async () => {
    await withRow(async (store) => {
      const waiting: ((answer: Response) => void)[] = [];
      vi.stubGlobal('fetch', () => new Promise<Response>((resolve) => { waiting.push(resolve); }));
      const tell = async () => {
        live.tell({ kind: 'case.changed', case_id: 'c' } satisfies Partial<Heard>);
        await vi.advanceTimersByTimeAsync(2_000);
      };
      await tell();
      await tell();
      expect(waiting.length).toBe(1);
      waiting[0](new Response(JSON.stringify(row('2026-01-01T00:00:01Z'))));
      await vi.advanceTimersByTimeAsync(2_000);
      expect(waiting.length).toBe(2); // what was told meanwhile
      waiting[1](new Response(JSON.stringify(row('2026-01-01T00:00:02Z'))));
      await vi.advanceTimersByTimeAsync(0);
      store.close();
      expect(store.items.value[0].updated_at).toBe('2026-01-01T00:00:02Z');
    });
  });

  it('reads a row again that was read while the whole list was', async () => {
    await withRow(async (store) => {
      let late: (answer: Response) => void = () => undefined;
      vi.stubGlobal('fetch', (url: string) => (url.endsWith('/c')
        ? Promise.resolve(new Response(JSON.stringify(row('2026-01-01T00:00:02Z'))))
        : new Promise<Response>((resolve) => { late = resolve; })));
      const list = store.load('', '');
      live.tell({ kind: 'case.changed', case_id: 'c' } satisfies Partial<Heard>);
      await vi.advanceTimersByTimeAsync(1_200);
      late(new Response(JSON.stringify({ items: [row('2026-01-01T00:00:01Z')], next: null }))); // as it was when the list was asked for
      await list;
      await vi.advanceTimersByTimeAsync(1_000);
      store.close();
      expect(store.items.value[0].updated_at).toBe('2026-01-01T00:00:02Z');
    });
  });
});

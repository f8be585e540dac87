// Live events. A browser keeps one stream, not one per tab: HTTP/1.1 gives it six connections per server. The tab that
// holds the lock `kerf-events` has the stream and passes what it hears to the others over a BroadcastChannel; when
// it goes, the next one takes the lock. Whenever a stream opens, everybody who may have read before is told to read again
// ('resync'): nobody has heard what happened in between.

const eventKinds = ['case.created', 'case.changed', 'instance.received', 'job.changed', 'artefact.made', 'levels.stated'] as const;
export type EventKind = (typeof eventKinds)[number];

export interface LiveEvent {
  kind: EventKind;
  case_id: string;
  [key: string]: unknown;
}

export type Heard = LiveEvent | { kind: 'resync' };
type Listener = (event: Heard) => void;

const listeners = new Set<Listener>();
const liveness = new Set<(live: boolean) => void>();
let stop: (() => void) | null = null;

/** Reads one event; what is not an object with a case is dropped, so that a newer server cannot break the page. */
export function parseEvent(kind: EventKind, data: string): LiveEvent | null {
  try {
    const body: unknown = JSON.parse(data);
    if (typeof body !== 'object' || body === null) return null;
    const fields = body as Record<string, unknown>;
    return typeof fields['case_id'] === 'string' ? { ...fields, kind, case_id: fields['case_id'] } : null;
  } catch {
    return null;
  }
}

function tell(event: Heard): void {
  for (const listener of [...listeners]) listener(event);
}

function tellLive(live: boolean): void {
  for (const listener of [...liveness]) listener(live);
}

interface Link {
  say(event: Heard): void;
  sayLive(live: boolean): void;
}

/** `gap`: other tabs have heard an earlier stream. */
function openStream(link: Link, gap: boolean): () => void {
  const source = new EventSource('/api/v1/events');
  for (const kind of eventKinds) {
    source.addEventListener(kind, (message) => {
      const event = parseEvent(kind, (message as MessageEvent<string>).data);
      if (event) link.say(event);
    });
  }
  source.addEventListener('resync', () => link.say({ kind: 'resync' }));
  source.onopen = () => {
    link.sayLive(true);
    if (gap || listeners.size > 0) link.say({ kind: 'resync' });
    gap = false;
  };
  source.onerror = () => {
    gap = true;
    link.sayLive(false);
  };
  return () => source.close();
}

/** Starts listening (once); the page does so when a session begins. */
export function startEvents(): void {
  if (stop) return;
  const channel = new BroadcastChannel('kerf-events');
  const ending = new AbortController();
  let close: (() => void) | null = null;
  channel.onmessage = (message: MessageEvent<{ event?: Heard; live?: boolean }>) => {
    if (message.data.event) tell(message.data.event);
    if (message.data.live !== undefined) tellLive(message.data.live);
  };
  const link: Link = {
    say: (event) => {
      tell(event);
      channel.postMessage({ event });
    },
    sayLive: (live) => {
      tellLive(live);
      channel.postMessage({ live });
    },
  };
  stop = () => {
    ending.abort();
    close?.();
    channel.close();
    stop = null;
  };
  // Locks exist only in a secure context; elsewhere each tab has a stream of its own.
  if (!('locks' in navigator)) {
    close = openStream(link, false);
    return;
  }
  let first = true;
  const lead = () =>
    new Promise<void>((resolve) => {
      close = openStream(link, !first);
      ending.signal.addEventListener('abort', () => resolve());
    });
  void navigator.locks.request('kerf-events', { ifAvailable: true }, async (lock) => {
    if (lock) return lead();
    tellLive(true);
    first = false;
    return undefined;
  }).then(() => {
    if (ending.signal.aborted) return undefined;
    return navigator.locks.request('kerf-events', { signal: ending.signal }, lead);
  }).catch(() => undefined);
}

export function stopEvents(): void {
  stop?.();
}

/** Calls back for every event until the returned function is called. */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function onLive(listener: (live: boolean) => void): () => void {
  liveness.add(listener);
  return () => liveness.delete(listener);
}

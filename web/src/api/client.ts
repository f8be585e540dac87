// The one place that talks HTTP to the API. Errors are problem+json turned into ApiError; the CSRF token of the session
// goes with every unsafe method. A 401 anywhere ends the session of the page.

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly retryAfter: number | null,
    readonly fields: { pointer: string; detail: string }[],
  ) {
    super(detail);
  }
}

let csrfToken = '';
let onSignedOut: () => void = () => undefined;
let onPasswordRequired: () => void = () => undefined;

export function setCsrfToken(token: string): void {
  csrfToken = token;
}

/** Who is told when the server no longer knows us, or wants a new password first. */
export function setSessionHooks(signedOut: () => void, passwordRequired: () => void): void {
  onSignedOut = signedOut;
  onPasswordRequired = passwordRequired;
}

export interface Call {
  json?: unknown;
  etag?: string;
  signal?: AbortSignal;
  idempotencyKey?: string;
  /** A 401 is the answer, not the end of a session (sign-in itself). */
  quiet?: boolean;
}

interface Problem {
  code?: string;
  title?: string;
  detail?: string;
  errors?: { pointer: string; detail: string }[];
}

/** Reads a problem document out of a body that may be anything. */
export function problemOf(status: number, text: string, retryAfter: string | null): ApiError {
  let body: Problem = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) body = parsed as Problem;
  } catch {
    // Not JSON: a proxy or a dying server answered. The status says enough.
  }
  const seconds = retryAfter === null ? null : Number(retryAfter);
  return new ApiError(
    status,
    body.code ?? `http_${status}`,
    body.detail ?? body.title ?? `The server answered ${status}.`,
    seconds !== null && Number.isFinite(seconds) ? seconds : null,
    body.errors ?? [],
  );
}

function headersOf(method: string, call: Call): Headers {
  const headers = new Headers({ Accept: 'application/json' });
  if (call.json !== undefined) headers.set('Content-Type', 'application/json');
  if (method !== 'GET' && method !== 'HEAD' && csrfToken) headers.set('X-CSRF-Token', csrfToken);
  if (call.etag) headers.set('If-Match', call.etag);
  if (call.idempotencyKey) headers.set('Idempotency-Key', call.idempotencyKey);
  return headers;
}

async function answer(method: string, path: string, call: Call): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: headersOf(method, call),
      body: call.json === undefined ? null : JSON.stringify(call.json),
      credentials: 'same-origin',
      signal: call.signal ?? null,
    });
  } catch (cause) {
    if (call.signal?.aborted) throw cause;
    throw new ApiError(0, 'unreachable', 'The server cannot be reached.', null, []);
  }
  if (response.ok) return response;
  const error = problemOf(response.status, await response.text(), response.headers.get('Retry-After'));
  if (error.status === 401 && !call.quiet) onSignedOut();
  if (error.code === 'password_change_required') onPasswordRequired();
  throw error;
}

export async function request<T>(method: string, path: string, call: Call = {}): Promise<T> {
  const response = await answer(method, path, call);
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

/**
 * Changes a resource as it is now: reads its ETag, then sends the change with it. The server refuses when somebody else
 * was faster in between.
 */
export async function patch<T>(path: string, json: unknown): Promise<T> {
  const current = await answer('GET', path, {});
  const etag = current.headers.get('ETag') ?? '';
  return request<T>('PATCH', path, { json, etag });
}

export const get = <T>(path: string, call: Call = {}): Promise<T> => request<T>('GET', path, call);
export const post = <T>(path: string, json: unknown, call: Call = {}): Promise<T> =>
  request<T>('POST', path, { ...call, json });
export const put = <T>(path: string, json: unknown, call: Call = {}): Promise<T> =>
  request<T>('PUT', path, { ...call, json });
/** A command without a body. */
export const command = <T>(path: string): Promise<T> => request<T>('POST', path);
export const remove = (path: string): Promise<void> => request<undefined>('DELETE', path);

/** Headers that an upload sends by hand (XMLHttpRequest, for its progress). */
export function uploadHeaders(): Record<string, string> {
  return csrfToken ? { 'X-CSRF-Token': csrfToken, Accept: 'application/json' } : { Accept: 'application/json' };
}

/** Immutable bytes of an artefact, or a range of them. */
export async function fetchBytes(url: string, range?: [number, number], signal?: AbortSignal): Promise<ArrayBuffer> {
  const headers = new Headers();
  if (range) headers.set('Range', `bytes=${range[0]}-${range[0] + range[1] - 1}`);
  const response = await fetch(url, { headers, credentials: 'same-origin', signal: signal ?? null });
  if (!response.ok) {
    throw problemOf(response.status, await response.text(), response.headers.get('Retry-After'));
  }
  const bytes = await response.arrayBuffer();
  if (range && response.status === 200) return bytes.slice(range[0], range[0] + range[1]);
  return bytes;
}

/** Every page of a list that is known to be short (artefacts and jobs of one case, accounts). */
export async function getAll<T>(path: string, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  const glue = path.includes('?') ? '&' : '?';
  do {
    const at: string = cursor === null ? '' : `${glue}cursor=${encodeURIComponent(cursor)}`;
    const page: { items: T[]; next: string | null } = await get(`${path}${at}`, signal ? { signal } : {});
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return items;
}

// Sends batches one after the other and adds up what became of each instance.
import { signal } from '@preact/signals';
import { problemOf, uploadHeaders } from '../api/client';
import type { UploadAnswer, UploadInstance } from '../api/types';
import { sayError } from '../ui/toast';
import { plan, type Batch } from './plan';
import type { Dropped } from './walk';

export interface UploadState {
  running: boolean;
  cancelled: boolean;
  files: number;
  bytes: number;
  sent: number;
  /** All bytes are away and the server is reading them. */
  reading: boolean;
  counts: { stored: number; duplicate: number; conflict: number; set_aside: number; refused: number };
  /** What was not stored as it should, with the reason. */
  notes: UploadInstance[];
  cases: string[];
  failed: string;
}

export const upload = signal<UploadState | null>(null);

let current: XMLHttpRequest | null = null;

function post(batch: Batch, onSent: (bytes: number) => void, onReading: () => void): Promise<UploadAnswer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    current = request;
    request.open('POST', '/api/v1/uploads');
    for (const [name, value] of Object.entries(uploadHeaders())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onSent(Math.min(batch.bytes, event.loaded));
    request.upload.onload = onReading;
    request.onerror = () => reject(problemOf(0, '{"detail":"The connection broke before everything was sent."}', null));
    request.onabort = () => reject(new DOMException('cancelled', 'AbortError'));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText) as UploadAnswer);
      else reject(problemOf(request.status, request.responseText, request.getResponseHeader('Retry-After')));
    };
    const body = new FormData();
    for (const { file, path } of batch.files) body.append('file', file, path);
    request.send(body);
  });
}

/** A batch's answer added to what is known; pure. */
export function addAnswer(state: UploadState, answer: UploadAnswer): UploadState {
  const counts = { ...state.counts };
  for (const instance of answer.instances) counts[instance.status] += 1;
  return {
    ...state,
    counts,
    notes: [...state.notes, ...answer.instances.filter((i) => i.status !== 'stored' && i.status !== 'duplicate')],
    cases: [...new Set([...state.cases, ...answer.cases])],
  };
}

export function cancelUpload(): void {
  const now = upload.value;
  if (!now?.running) {
    upload.value = null;
    return;
  }
  upload.value = { ...now, cancelled: true };
  current?.abort();
}

function update(change: Partial<UploadState>): void {
  if (upload.value) upload.value = { ...upload.value, ...change };
}

/** Sends everything; one upload at a time. */
export async function startUpload(files: Dropped[]): Promise<void> {
  if (upload.value?.running || files.length === 0) return;
  const batches = plan(files);
  upload.value = {
    running: true, cancelled: false, files: files.length, bytes: batches.reduce((n, batch) => n + batch.bytes, 0),
    sent: 0, reading: false, counts: { stored: 0, duplicate: 0, conflict: 0, set_aside: 0, refused: 0 },
    notes: [], cases: [], failed: '',
  };
  let before = 0;
  try {
    for (const batch of batches) {
      const answer = await post(batch, (bytes) => update({ sent: before + bytes }), () => update({ reading: true }));
      before += batch.bytes;
      if (upload.value) upload.value = addAnswer({ ...upload.value, sent: before, reading: false }, answer);
    }
  } catch (cause) {
    if (!(cause instanceof DOMException)) {
      sayError(cause);
      update({ failed: cause instanceof Error ? cause.message : String(cause) });
    }
  } finally {
    current = null;
    update({ running: false, reading: false });
  }
}

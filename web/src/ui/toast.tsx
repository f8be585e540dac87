// Short messages at the foot of the page; read out by screen readers, gone after a while unless they are errors.
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { ApiError } from '../api/client';
import { Icon } from './icons';

interface Toast {
  id: number;
  text: string;
  error: boolean;
}

const toasts = signal<Toast[]>([]);
let serial = 0;

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function say(text: string, error = false): void {
  const id = ++serial;
  toasts.value = [...toasts.value.filter((toast) => toast.text !== text), { id, text, error }].slice(-4);
  setTimeout(() => dismiss(id), error ? 12000 : 5000);
}

/** Words for anything that was thrown. */
export function reason(cause: unknown): string {
  if (cause instanceof ApiError) {
    const fields = cause.fields.map((field) => field.detail).join(' ');
    return fields ? `${cause.detail} ${fields}` : cause.detail;
  }
  return cause instanceof Error ? cause.message : String(cause);
}

export function sayError(cause: unknown): void {
  if (cause instanceof DOMException && cause.name === 'AbortError') return;
  say(reason(cause), true);
}

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={toast.error ? 'toast error' : 'toast'}>
          <Icon name={toast.error ? 'warn' : 'check'} />
          <span>{toast.text}</span>
          <button type="button" class="plain" aria-label="Dismiss" onClick={() => dismiss(toast.id)}>
            <Icon name="close" size={14} />
          </button>
        </div>
      ))}
    </div>
  );
}

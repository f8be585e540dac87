// Who is signed in. `undefined` while we ask, `null` when nobody is.
import { signal } from '@preact/signals';
import { get, post, put, remove, setCsrfToken, setSessionHooks } from '../api/client';
import { startEvents, stopEvents } from '../api/events';
import type { Role, Session } from '../api/types';

export const session = signal<Session | null | undefined>(undefined);

function begin(next: Session | null): void {
  setCsrfToken(next?.csrf_token ?? '');
  session.value = next;
  if (next && !next.account.must_change_password) startEvents();
  else stopEvents();
}

setSessionHooks(
  () => {
    if (session.value) begin(null);
  },
  () => {
    const now = session.value;
    if (now && !now.account.must_change_password) begin({ ...now, account: { ...now.account, must_change_password: true } });
  },
);

export async function loadSession(): Promise<void> {
  try {
    begin(await get<Session>('/session', { quiet: true }));
  } catch {
    begin(null);
  }
}

export async function signIn(login: string, password: string): Promise<void> {
  begin(await post<Session>('/session', { login, password }, { quiet: true }));
}

export async function signOut(): Promise<void> {
  try {
    await remove('/session');
  } finally {
    begin(null);
  }
}

/** The server ends every other session of the account; this one goes on, with a fresh token. */
export async function changePassword(current: string, next: string): Promise<void> {
  await put<void>('/session/password', { current_password: current, new_password: next }, { quiet: true });
  await loadSession();
}

export function mayDo(...roles: Role[]): boolean {
  const role = session.value?.account.role;
  return role !== undefined && roles.includes(role);
}

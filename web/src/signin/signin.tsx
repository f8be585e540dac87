// Sign-in, and the change of a one-time password that must happen before anything else.
import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { ApiError } from '../api/client';
import { changePassword, session, signIn, signOut } from '../app/session';
import { Mark } from '../ui/icons';
import { reason } from '../ui/toast';
import './signin.css';

function Frame({ children }: { children: ComponentChildren }): JSX.Element {
  return (
    <main class="signin">
      <div class="signin-card">
        <div class="signin-brand"><Mark size={34} /><span>Kerf</span></div>
        {children}
      </div>
    </main>
  );
}

/** Seconds that are left of a lock, counted down so that nobody has to guess when to try again. */
function useCountdown(): [number, (seconds: number) => void] {
  const left = useSignal(0);
  useEffect(() => {
    const timer = setInterval(() => {
      if (left.value > 0) left.value -= 1;
    }, 1000);
    return () => clearInterval(timer);
  }, []);
  return [left.value, (seconds) => { left.value = Math.ceil(seconds); }];
}

function waitText(seconds: number): string {
  return seconds < 90 ? `Try again in ${seconds} s.` : `Try again in ${Math.ceil(seconds / 60)} minutes.`;
}

export function SignIn(): JSX.Element {
  const busy = useSignal(false);
  const error = useSignal('');
  const [left, lock] = useCountdown();
  const name = useRef<HTMLInputElement>(null);
  const secret = useRef<HTMLInputElement>(null);
  // Before it is painted: a later turn of the focus would carry what is already being typed into the other field.
  useLayoutEffect(() => name.current?.focus(), []);

  const submit = async (event: Event) => {
    event.preventDefault();
    busy.value = true;
    error.value = '';
    try {
      await signIn(name.current?.value.trim() ?? '', secret.current?.value ?? '');
    } catch (cause) {
      error.value = reason(cause);
      if (cause instanceof ApiError && cause.retryAfter) lock(cause.retryAfter);
      if (secret.current) secret.current.value = '';
      secret.current?.focus();
    } finally {
      busy.value = false;
    }
  };

  return (
    <Frame>
      <form onSubmit={submit}>
        <h1>Sign in</h1>
        <label class="field">Name
          <input ref={name} name="username" autocomplete="username" autocapitalize="none" spellcheck={false} required />
        </label>
        <label class="field">Password
          <input ref={secret} type="password" name="password" autocomplete="current-password" required />
        </label>
        <p class="form-error" role="alert">{error.value}{left > 0 ? ` ${waitText(left)}` : ''}</p>
        <button class="primary" type="submit" disabled={busy.value || left > 0}>
          {busy.value ? 'Signing in…' : 'Sign in'}
        </button>
      </form>
    </Frame>
  );
}

const shortest = 12;

function passwordProblem(next: string, again: string): string {
  if ([...next].length < shortest) return `Use at least ${shortest} characters.`;
  return next === again ? '' : 'The two new passwords differ.';
}

/** Also reached from the account menu; `forced` is the first sign-in, where there is no way around. */
export function PasswordForm({ forced, onDone }: { forced: boolean; onDone: () => void }): JSX.Element {
  const busy = useSignal(false);
  const error = useSignal('');
  const form = useRef<HTMLFormElement>(null);

  const submit = async (event: Event) => {
    event.preventDefault();
    const data = new FormData(form.current as HTMLFormElement);
    const [current, next, again] = ['current', 'next', 'again'].map((key) => String(data.get(key) ?? ''));
    error.value = passwordProblem(next, again);
    if (error.value) return;
    busy.value = true;
    try {
      await changePassword(current, next);
      onDone();
    } catch (cause) {
      error.value = reason(cause);
    } finally {
      busy.value = false;
    }
  };

  return (
    <form ref={form} onSubmit={submit}>
      <input class="visually-hidden" type="text" name="username" autocomplete="username" tabIndex={-1}
        value={session.value?.account.login ?? ''} readOnly aria-hidden="true" />
      <label class="field">{forced ? 'One-time password' : 'Current password'}
        <input type="password" name="current" autocomplete="current-password" required autofocus />
      </label>
      <label class="field">New password
        <input type="password" name="next" autocomplete="new-password" required aria-describedby="password-hint" />
      </label>
      <p class="hint" id="password-hint">At least {shortest} characters. A few unrelated words are easy to remember.</p>
      <label class="field">New password, again
        <input type="password" name="again" autocomplete="new-password" required />
      </label>
      <p class="form-error" role="alert">{error.value}</p>
      <button class="primary" type="submit" disabled={busy.value}>{busy.value ? 'Saving…' : 'Set new password'}</button>
    </form>
  );
}

export function FirstPassword(): JSX.Element {
  return (
    <Frame>
      <h1>Choose your password</h1>
      <p class="muted">The one you signed in with works once. Your own replaces it.</p>
      <PasswordForm forced onDone={() => undefined} />
      <button type="button" class="linklike" onClick={() => void signOut()}>Sign out</button>
    </Frame>
  );
}

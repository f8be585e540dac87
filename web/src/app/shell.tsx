// The frame of every signed-in page: the top bar, the account menu, help, and what the route asks for.
import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { onLive } from '../api/events';
import { PasswordForm } from '../signin/signin';
import { Dialog } from '../ui/dialog';
import { Icon, Mark } from '../ui/icons';
import { say } from '../ui/toast';
import { HelpSheet, helpOpen } from './help';
import { mayDo, session, signOut } from './session';
import { useShortcuts } from './shortcuts';
import { isDark, theme, toggleTheme } from './theme';

function AccountMenu(): JSX.Element {
  const open = useSignal(false);
  const changing = useSignal(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === 'Escape' : !box.current?.contains(event.target as Node)) {
        open.value = false;
      }
    };
    addEventListener('pointerdown', close);
    addEventListener('keydown', close);
    return () => {
      removeEventListener('pointerdown', close);
      removeEventListener('keydown', close);
    };
  }, []);
  const who = session.value;
  return (
    <div class="menu-box" ref={box}>
      <button type="button" class="plain account" aria-haspopup="menu" aria-expanded={open.value}
        aria-label={`Account: ${who?.account.display_name ?? ''}`} onClick={() => { open.value = !open.value; }}>
        <Icon name="user" />
      </button>
      {open.value && (
        <div class="menu" role="menu">
          <div class="menu-who">
            <strong>{who?.account.display_name || who?.account.login}</strong>
            <span>{who?.account.role} · {who?.organisation.name}</span>
          </div>
          {mayDo('admin', 'technician') && (
            <a role="menuitem" href="/admin" onClick={() => { open.value = false; }}><Icon name="gear" />Administration</a>
          )}
          <button type="button" role="menuitem" onClick={() => { changing.value = true; open.value = false; }}>
            <Icon name="user" />Change password
          </button>
          <button type="button" role="menuitem" onClick={() => void signOut()}><Icon name="out" />Sign out</button>
        </div>
      )}
      {changing.value && (
        <Dialog title="Change password" onClose={() => { changing.value = false; }}>
          <PasswordForm forced={false} onDone={() => {
            changing.value = false;
            say('Your password was changed. Other sessions of yours have ended.');
          }} />
        </Dialog>
      )}
    </div>
  );
}

function LiveMark(): JSX.Element | null {
  const live = useSignal(true);
  const shown = useSignal(false);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const off = onLive((now) => {
      live.value = now;
      clearTimeout(timer);
      if (now) shown.value = false;
      else timer = setTimeout(() => { shown.value = true; }, 4000);
    });
    return () => {
      clearTimeout(timer);
      off();
    };
  }, []);
  return shown.value ? <span class="offline" role="status"><Icon name="warn" size={15} />Live updates interrupted</span> : null;
}

interface ShellProps {
  /** What stands in the top bar beside the mark. */
  bar?: ComponentChildren;
  /** The page fills the window and scrolls inside itself. */
  fixed?: boolean;
  children: ComponentChildren;
}

export function Shell({ bar, fixed, children }: ShellProps): JSX.Element {
  useShortcuts([
    { keys: ['?'], does: 'Show or hide this sheet', group: 'Everywhere', run: () => { helpOpen.value = !helpOpen.value; } },
    { keys: ['d'], does: 'Switch between light and dark', group: 'Everywhere', run: toggleTheme },
  ]);
  const dark = isDark();
  return (
    <div class={fixed ? 'shell fixed' : 'shell'} data-for={theme.value}>
      <header class="bar">
        <a class="brand" href="/" aria-label="Kerf: work list"><Mark /></a>
        <div class="bar-main">{bar}</div>
        <LiveMark />
        <button type="button" class="plain" title={dark ? 'Light (D)' : 'Dark (D)'} aria-label={dark ? 'Use light colours' : 'Use dark colours'}
          onClick={toggleTheme}><Icon name={dark ? 'sun' : 'moon'} /></button>
        <button type="button" class="plain" title="Help and shortcuts (?)" aria-label="Help and shortcuts"
          onClick={() => { helpOpen.value = true; }}><Icon name="help" /></button>
        <AccountMenu />
      </header>
      {children}
      {helpOpen.value && <HelpSheet />}
    </div>
  );
}

// A group of buttons with role "radio": one tab stop, arrow keys choose, as the browser does it for its own radio buttons.
import type { JSX } from 'preact';

const steps: Record<string, number> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** For the group's onKeyDown. The event goes no further: arrow keys elsewhere go through the slices. */
export function radioKeys(event: JSX.TargetedKeyboardEvent<HTMLElement>): void {
  const step = steps[event.key];
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>('[role=radio]')];
  const at = all.indexOf(document.activeElement as HTMLElement);
  if (!step || at < 0) return;
  event.preventDefault();
  const next = all[(at + step + all.length) % all.length];
  next.focus();
  next.click();
}

export const radioStop = (checked: boolean): number => (checked ? 0 : -1);

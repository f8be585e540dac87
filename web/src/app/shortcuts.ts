// Keyboard shortcuts: each page registers its own, the help sheet lists what is registered.
import { signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';

export interface Shortcut {
  /** As KeyboardEvent.key says it, lower case for letters; several are alternatives. */
  keys: string[];
  /** How the sheet writes them, where that differs. */
  shown?: string;
  does: string;
  group: string;
  run: (event: KeyboardEvent) => void;
}

export const shortcuts = signal<Shortcut[]>([]);

/** True for keys that the focused field needs itself. Sliders and boxes need no letters: after a drag, shortcuts go on working. */
function inField(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  if (target instanceof HTMLInputElement && /^(range|checkbox|color)$/.test(target.type)) return event.key.length > 1 || event.key === ' ';
  return !!target && (/^(input|select|textarea)$/i.test(target.tagName) || target.isContentEditable);
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || inField(event)) return;
  if (document.querySelector('dialog[open]') && event.key !== '?') return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const found = shortcuts.value.find((shortcut) => shortcut.keys.includes(key));
  if (!found) return;
  // Space and Enter on a focused control are that control's.
  if ((key === ' ' || key === 'Enter') && (event.target as Element | null)?.closest('button, a, summary, [role="slider"]')) return;
  event.preventDefault();
  found.run(event);
}

addEventListener('keydown', onKey);

/** Registers shortcuts while the component is mounted; their handlers may change from render to render. */
export function useShortcuts(list: Shortcut[]): void {
  const latest = useRef(list);
  latest.current = list;
  // Before the page is painted: they work as soon as it can be seen.
  useLayoutEffect(() => {
    const mine = list.map((shortcut, index) => ({
      ...shortcut,
      run: (event: KeyboardEvent) => latest.current[index]?.run(event),
    }));
    shortcuts.value = [...mine, ...shortcuts.value];
    return () => {
      shortcuts.value = shortcuts.value.filter((shortcut) => !mine.includes(shortcut));
    };
  }, []);
}

// The help sheet: every shortcut that works on this page, and the mouse and touch gestures of the panes.
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { Dialog } from '../ui/dialog';
import { route } from './router';
import { shortcuts, type Shortcut } from './shortcuts';

export const helpOpen = signal(false);

const names: Record<string, string> = {
  ArrowUp: '↑', ArrowDown: '↓', ArrowLeft: '←', ArrowRight: '→', PageUp: 'Page up', PageDown: 'Page down',
  Enter: 'Enter', Escape: 'Esc', ' ': 'Space', Home: 'Home', End: 'End',
};

const keyName = (key: string): string => names[key] ?? key.toUpperCase();

const gestures: [string, string][] = [
  ['Wheel', 'Go through the slices'],
  ['Left drag', 'Use the chosen tool'],
  ['Right drag', 'Change brightness and contrast'],
  ['Middle drag, or Shift and drag', 'Move the picture'],
  ['Ctrl and wheel, or pinch', 'Zoom'],
  ['Double click', 'Make a pane large, and small again'],
  ['Click on a surface in 3D', 'Move all slices to that point'],
  ['Letters on a vertebra', 'Its level as the job named it; a number from the top and a question mark where it could not'],
  ['Name of a structure, in the side panel', 'Its opacity, surface and files'],
  ['Fused view, in the side panel', 'A second scan with the first: blend, checkerboard, split, side by side'],
  ['Touch: one finger', 'Go through the slices; a tap moves the crosshair'],
  ['Touch: two fingers', 'Move and zoom'],
];

export function HelpSheet(): JSX.Element {
  const groups = new Map<string, Shortcut[]>();
  for (const shortcut of shortcuts.value) groups.set(shortcut.group, [...(groups.get(shortcut.group) ?? []), shortcut]);
  return (
    <Dialog title="Help" wide onClose={() => { helpOpen.value = false; }}>
      <div class="help">
        {[...groups].map(([group, list]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {list.map((shortcut) => (
                <div key={shortcut.does}>
                  <dt>{shortcut.shown
                    ? <kbd>{shortcut.shown}</kbd>
                    : shortcut.keys.map((key, i) => <>{i > 0 && ' '}<kbd>{keyName(key)}</kbd></>)}</dt>
                  <dd>{shortcut.does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        {route.value.page === 'case' && (
          <section>
            <h3>Mouse and touch</h3>
            <dl>{gestures.map(([how, what]) => <div key={how}><dt>{how}</dt><dd>{what}</dd></div>)}</dl>
          </section>
        )}
      </div>
    </Dialog>
  );
}

// A part of the side panel that can be folded.
import type { ComponentChildren, JSX } from 'preact';

interface SectionProps {
  title: string;
  aside?: string;
  open?: boolean;
  children: ComponentChildren;
}

export function Section({ title, aside, open = true, children }: SectionProps): JSX.Element {
  return (
    <details class="side-section" open={open}>
      <summary><h2>{title}</h2>{aside && <span class="aside">{aside}</span>}</summary>
      <div class="side-body">{children}</div>
    </details>
  );
}

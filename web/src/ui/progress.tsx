import type { JSX } from 'preact';
import { percent } from './format';

/** A thin bar; its value is also in words for those who do not see it. */
export function Progress({ value, label }: { value: number; label: string }): JSX.Element {
  const clipped = Math.min(1, Math.max(0, value));
  return (
    <div class="progress" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100}
      aria-valuenow={Math.round(clipped * 100)} aria-valuetext={percent(clipped)}>
      <i style={{ transform: `scaleX(${clipped})` }} />
    </div>
  );
}

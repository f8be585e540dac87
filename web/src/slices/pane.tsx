// One slice pane: the picture, its overlay, and the texts around it.
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Icon } from '../ui/icons';
import { Gestures } from './gestures';
import type { Side } from './fusion';
import type { Orientation } from './geometry';
import { paneId, type Stage } from './stage';
import './slices.css';

const paneNames: Record<Orientation, string> = { axial: 'Axial', coronal: 'Coronal', sagittal: 'Sagittal' };

interface SlicePaneProps {
  stage: Stage;
  orientation: Orientation;
  side: Side;
  /** The scan or scans in this pane, said in the fused view. */
  scan: string;
  /** Whose labels were carried onto this pane's scan, and by what; empty when it has only its own. */
  carried: string;
  large: boolean;
  onLarge: () => void;
  onGestures?: (orientation: Orientation, gestures: Gestures) => void;
}

export function SlicePane({ stage, orientation, side, scan, carried, large, onLarge, onGestures }: SlicePaneProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const moves = useRef<Gestures | null>(null);
  const host = useRef<HTMLDivElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const texts = useRef<Record<string, HTMLElement | null>>({});
  const text = (name: string) => (element: HTMLElement | null) => { texts.current[name] = element; };

  useEffect(() => {
    const t = texts.current as Record<string, HTMLElement>;
    stage.attach(orientation, side, {
      host: host.current as HTMLDivElement,
      overlay: overlay.current as HTMLCanvasElement,
      slice: t['slice'], place: t['place'], value: t['value'], label: t['label'],
      edges: { left: t['left'], right: t['right'], top: t['top'], bottom: t['bottom'] },
      echo: t['echo'],
      slider: box.current as HTMLDivElement,
    });
    const gestures = new Gestures(stage, orientation, side, box.current as HTMLDivElement);
    moves.current = gestures;
    onGestures?.(orientation, gestures);
  }, []);
  // What a slider has besides the keys that work on the whole page.
  const onKey = (event: JSX.TargetedKeyboardEvent<HTMLDivElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves.current?.scroll(step);
  };

  const id = paneId(orientation, side);
  const name = scan ? `${paneNames[orientation]}, ${scan}` : paneNames[orientation];
  return (
    <section class={`pane pane-${orientation} pane-${side}`} data-pane={id} aria-label={`${name} slices`}>
      <div class="pane-picture" ref={host} />
      <canvas class="pane-overlay" ref={overlay} aria-hidden="true" />
      <div class="pane-touch" ref={box} tabIndex={0} role="slider" aria-label={`${name} slice`} aria-orientation="vertical" aria-valuemin={1}
        aria-valuemax={1} aria-valuenow={1} aria-valuetext="no slice yet" onKeyDown={onKey} onDblClick={onLarge} />
      <div class="pane-head">
        <span class="pane-name"><i class="swatch" />{paneNames[orientation]}</span>
        <span class="pane-slice" ref={text('slice')} data-testid={`${id}-slice`} />
        <span class="pane-place" ref={text('place')} />
        {scan && <><i class="pane-break" /><span class="pane-scan">{scan}</span></>}
        {carried && <><i class="pane-break" /><span class="pane-carried" data-testid={`${id}-carried`}>{carried}</span></>}
      </div>
      <i class="pane-echo" ref={text('echo')} hidden aria-hidden="true" />
      <span class="pane-label" ref={text('label')} data-testid={`${id}-label`} />
      <span class="pane-value" ref={text('value')} data-testid={`${id}-value`} />
      <span class="edge edge-left" ref={text('left')} />
      <span class="edge edge-right" ref={text('right')} />
      <span class="edge edge-top" ref={text('top')} />
      <span class="edge edge-bottom" ref={text('bottom')} />
      <button type="button" class="pane-max" onClick={onLarge} aria-pressed={large}
        aria-label={large ? `Show all panes` : `Enlarge ${paneNames[orientation].toLowerCase()}`}>
        <Icon name={large ? 'min' : 'max'} size={15} />
      </button>
    </section>
  );
}

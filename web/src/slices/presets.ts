// Windows: which values become black and white. Centre and width are in the units of the volume (HU for CT).
import type { ArtefactMeta } from '../api/types';

export interface Window {
  centre: number;
  width: number;
}

export interface Preset extends Window {
  id: string;
  name: string;
  key: string;
}

const ctPresets: readonly Preset[] = [
  { id: 'bone', name: 'Bone', key: '1', centre: 500, width: 2000 },
  { id: 'soft', name: 'Soft tissue', key: '2', centre: 50, width: 400 },
  { id: 'brain', name: 'Brain', key: '3', centre: 40, width: 80 },
  { id: 'lung', name: 'Lung', key: '4', centre: -600, width: 1500 },
  { id: 'teeth', name: 'Teeth and metal', key: '5', centre: 1400, width: 3600 },
];

/** What the page offers for a volume; values that are not HU get only what their own range gives. */
export function presetsFor(meta: ArtefactMeta): Preset[] {
  const auto = { id: 'auto', name: 'Automatic', key: '0', ...autoWindow(meta) };
  return meta.units === 'HU' ? [...ctPresets, auto] : [auto];
}

/** Which preset a window is, empty when it is one of the user's own. */
export function currentPreset(now: Window, presets: readonly Preset[]): string {
  return presets.find((p) => Math.abs(p.centre - now.centre) < 0.5 && Math.abs(p.width - now.width) < 0.5)?.id ?? '';
}

/** The scanner's window, or the middle of the values that occur. */
export function autoWindow(meta: ArtefactMeta): Window {
  if (meta.window && Number.isFinite(meta.window.centre) && meta.window.width > 0) {
    return { centre: meta.window.centre, width: meta.window.width };
  }
  const [low, high] = meta.value_range ?? [0, 1];
  return { centre: (low + high) / 2, width: Math.max(high - low, 1e-6) };
}

export function firstWindow(meta: ArtefactMeta): Window {
  const bone = ctPresets[0];
  return meta.units === 'HU' && meta.modality === 'CT' ? { centre: bone.centre, width: bone.width } : autoWindow(meta);
}

export function rangeOf(window: Window): [number, number] {
  return [window.centre - window.width / 2, window.centre + window.width / 2];
}

/** A drag by (dx, dy) pixels: right widens, up brightens (lowers the centre), in steps that suit the width. */
export function dragWindow(start: Window, dx: number, dy: number, span: number): Window {
  const step = Math.max(span, 1e-6) / 600;
  return { centre: start.centre + dy * step, width: Math.max(step, start.width + dx * step) };
}

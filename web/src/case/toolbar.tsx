// The tools of the slice panes: what the left button does, brightness and contrast, overlay, reset.
import type { JSX } from 'preact';
import type { ArtefactMeta } from '../api/types';
import { currentPreset, presetsFor } from '../slices/presets';
import type { Tool, ViewState } from '../slices/state';
import { figure } from '../ui/format';
import { Icon, type IconName } from '../ui/icons';
import { FusionStrip } from './fusion';

export const tools: { id: Tool; name: string; key: string; icon: IconName }[] = [
  { id: 'crosshair', name: 'Crosshair', key: 'c', icon: 'crosshair' },
  { id: 'window', name: 'Brightness and contrast', key: 'w', icon: 'window' },
  { id: 'pan', name: 'Move', key: 'p', icon: 'pan' },
  { id: 'zoom', name: 'Zoom', key: 'z', icon: 'zoom' },
];

interface ToolbarProps {
  state: ViewState;
  meta: ArtefactMeta | null;
  sidebar: boolean;
  onSidebar: () => void;
  onReset: () => void;
}

export function Toolbar({ state, meta, sidebar, onSidebar, onReset }: ToolbarProps): JSX.Element {
  const presets = meta ? presetsFor(meta) : [];
  const window = state.window.value;
  const decimals = state.units.value === 'HU' || window.width > 20 ? 0 : 2;
  return (
    <div class="toolbar" role="toolbar" aria-label="Slice tools">
      <button type="button" class="plain only-wide" aria-pressed={sidebar} title="Side panel (S)" aria-label="Side panel" onClick={onSidebar}>
        <Icon name="side" />
      </button>
      <div class="group only-wide" role="group" aria-label="Left mouse button">
        {tools.map((tool) => (
          <button key={tool.id} type="button" class="plain" aria-pressed={state.tool.value === tool.id}
            title={`${tool.name} (${tool.key.toUpperCase()})`} aria-label={tool.name}
            onClick={() => { state.tool.value = tool.id; }}><Icon name={tool.icon} /></button>
        ))}
      </div>
      <label class="tool-field">
        <span class="tool-label">Window</span>
        <select value={currentPreset(window, presets)} disabled={!meta} aria-label="Window" data-testid="window-preset"
          onChange={(event) => {
            const preset = presets.find((p) => p.id === event.currentTarget.value);
            if (preset) state.window.value = { centre: preset.centre, width: preset.width };
          }}>
          <option value="" hidden>Own</option>
          {presets.map((preset) => <option key={preset.id} value={preset.id}>{preset.name}</option>)}
        </select>
      </label>
      <FusionStrip state={state} />
      <span class="tool-figures only-wide" title="Centre and width of the window">
        C {figure(window.centre, decimals)} · W {figure(window.width, decimals)}
      </span>
      <label class="tool-field only-wide">
        <span class="tool-label">Overlay</span>
        <input type="range" min="0" max="1" step="0.05" value={state.overlayOpacity.value} aria-label="Opacity of the overlay"
          onInput={(event) => { state.overlayOpacity.value = Number(event.currentTarget.value); }} />
      </label>
      <button type="button" class="plain" aria-pressed={state.crosshair.value} title="Show the crosshair (X)" aria-label="Show the crosshair"
        onClick={() => { state.crosshair.value = !state.crosshair.value; }}><Icon name={state.crosshair.value ? 'eye' : 'hidden'} /></button>
      <button type="button" class="plain" title="Reset views (R)" aria-label="Reset views" onClick={onReset}><Icon name="reset" /></button>
    </div>
  );
}

// The 3D pane: the scene, its view buttons, and how far it has loaded.
import { effect, useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { CaseStore } from '../case/store';
import type { Structure } from '../case/model';
import type { ViewState } from '../slices/state';
import { count } from '../ui/format';
import { Icon } from '../ui/icons';
import { say, sayError } from '../ui/toast';
import type { Scene3D } from './scene';
import './scene.css';

interface ScenePaneProps {
  store: CaseStore;
  state: ViewState;
  large: boolean;
  onLarge: () => void;
  onScene: (scene: Scene3D | null) => void;
}

const views: [string, string, [number, number, number]][] = [
  ['A', 'front', [0, -1, 0]], ['P', 'back', [0, 1, 0]], ['R', "the patient's right", [-1, 0, 0]],
  ['L', "the patient's left", [1, 0, 0]], ['S', 'above', [0, 0, 1]], ['I', 'below', [0, 0, -1]],
];

/** Connects the scene to the case and the shared view; ends with the returned function. */
function connect(scene: Scene3D, store: CaseStore, state: ViewState, onLoaded: () => void): () => void {
  const shown = new Map<string, string>();
  const light = matchMedia('(pointer: coarse)').matches;
  const lookOf = (structure: Structure) => {
    const look = store.look(structure.key);
    return { visible: store.inScene(structure.key) && store.placement.value.places.has(structure.key), opacity: look.opacity, colour: look.colour ?? structure.colour };
  };
  const ends = [
    effect(() => {
      const volume = state.volume.value;
      if (volume) scene.setGrid(volume.grid);
    }),
    effect(() => {
      void state.volume.value;
      scene.setCursor(state.cursor.value, state.crosshair.value && state.volume.value !== null && !store.placement.value.apart);
    }),
    effect(() => {
      const structures = store.structures.value.filter((structure) => structure.surfaces.length > 0);
      scene.removeSurfacesBut(new Set(structures.map((structure) => structure.key)));
      for (const structure of structures) {
        // Phones stop one level before the finest: it is for looking, and memory is dear there.
        const levels = light && structure.surfaces.length > 1 ? structure.surfaces.slice(0, -1) : structure.surfaces;
        const stamp = levels.map((surface) => surface.sha256).join();
        // What is not to be seen is not fetched before it is.
        if (shown.get(structure.key) === stamp || !lookOf(structure).visible) continue;
        shown.set(structure.key, stamp);
        scene.showSurface(structure.key, levels.map((surface) => surface.url), lookOf(structure)).then(onLoaded, (cause) => {
          shown.delete(structure.key);
          sayError(cause);
        });
        const place = store.placement.value.places.get(structure.key);
        if (place) scene.setPlace(structure.key, place);
      }
    }),
    effect(() => {
      void store.looks.value;
      const { places } = store.placement.value;
      for (const structure of store.structures.value) {
        scene.setLook(structure.key, lookOf(structure));
        const place = places.get(structure.key);
        if (place) scene.setPlace(structure.key, place);
      }
    }),
  ];
  scene.onPick = (lps) => {
    if (store.placement.peek().apart) say('These surfaces come from another scan that is not aligned with the shown one: the slices stay where they are.');
    else state.moveTo(lps);
  };
  return () => ends.forEach((end) => end());
}

/** Whose surfaces these are, where that is not plain. */
function SceneNote({ store }: { store: CaseStore }): JSX.Element | null {
  const { apart, left } = store.placement.value;
  if (apart) return <div class="scene-apart"><Icon name="warn" size={15} />From another scan, not aligned with the slices</div>;
  if (left === 0) return null;
  return <div class="scene-apart"><Icon name="warn" size={15} />{count(left, 'structure')} of another scan not drawn: align the scans rigidly first</div>;
}

export function ScenePane({ store, state, large, onLarge, onScene }: ScenePaneProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const scene = useRef<Scene3D | null>(null);
  const triangles = useSignal(0);
  const failed = useSignal('');

  useEffect(() => {
    let gone = false;
    let disconnect = () => undefined as void;
    const begin = async () => {
      await state.afterPicture();
      const { Scene3D } = await import('./scene');
      if (gone || !host.current) return;
      const made = new Scene3D(host.current);
      scene.current = made;
      disconnect = connect(made, store, state, () => {
        triangles.value = made.report().reduce((n, surface) => n + surface.triangles, 0);
        host.current?.setAttribute('data-triangles', String(triangles.value));
      });
      onScene(made);
    };
    begin().catch((cause: unknown) => { failed.value = cause instanceof Error ? cause.message : String(cause); });
    return () => {
      gone = true;
      disconnect();
      scene.current?.close();
      onScene(null);
    };
  }, []);

  const waiting = store.structures.value.every((structure) => structure.surfaces.length === 0);
  const working = store.jobs.value.some((job) => job.state === 'running' || job.state === 'queued');
  const look = async (direction: [number, number, number]) => {
    const { Vector3 } = await import('three');
    scene.current?.lookFrom(new Vector3(...direction));
  };
  return (
    <section class="pane pane-scene" data-pane="scene" aria-label="3D scene">
      <div class="scene-host" ref={host} />
      <div class="pane-head">
        <span class="pane-name"><i class="swatch" />3D</span>
        <span class="pane-slice">{triangles.value > 0 ? count(triangles.value, 'triangle') : ''}</span>
      </div>
      {failed.value && <div class="pane-empty">3D cannot be shown here: {failed.value}</div>}
      {!failed.value && waiting && <div class="pane-empty">{working ? 'Surfaces are being made…' : 'No surfaces yet'}</div>}
      <SceneNote store={store} />
      <div class="scene-views" role="group" aria-label="Look from">
        {views.map(([letter, name, direction]) => (
          <button key={letter} type="button" aria-label={`Look from ${name}`} title={`Look from ${name}`}
            onClick={() => void look(direction)}>{letter}</button>
        ))}
        <button type="button" aria-label="Reset the 3D view" title="Reset" onClick={() => scene.current?.reset()}>
          <Icon name="reset" size={13} />
        </button>
      </div>
      <button type="button" class="pane-max" onClick={onLarge} aria-pressed={large} aria-label={large ? 'Show all panes' : 'Enlarge 3D'}>
        <Icon name={large ? 'min' : 'max'} size={15} />
      </button>
    </section>
  );
}

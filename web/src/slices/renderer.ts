// The grey picture of the three panes: Cornerstone3D's core on one shared WebGL context, so that a volume is in
// graphics memory once. Cameras are ours (geometry.ts); Cornerstone is told where to look and draws. Annotation tools
// are not used: they need inline styles, which our content policy refuses, and our overlays are drawn in overlay.ts.
import {
  cache, Enums, init, metaData, RenderingEngine, setVolumesForViewports, volumeLoader, type Types,
} from '@cornerstonejs/core';
import { add, axisOf, type Orientation, type PaneView, type Plane, type Size, type Vec3 } from './geometry';
import type { ViewVolume } from './volume';
import { rangeOf, type Window } from './presets';

// Cornerstone asks for a first window in the terms of DICOM; ours comes from the page.
metaData.addProvider((type: string, imageId: string) =>
  type === 'voiLutModule' && imageId.startsWith('kerf:') ? { windowCenter: 0, windowWidth: 1000 } : undefined, 10000);

let started: Promise<unknown> | null = null;
let serial = 0;

interface Pane {
  viewport: Types.IVolumeViewport;
  element: HTMLDivElement;
}

export class SliceRenderer {
  private readonly engine: RenderingEngine;
  private readonly panes = new Map<Orientation, Pane>();
  private readonly name: string;
  private volumeId = '';
  private volume: ViewVolume | null = null;
  private image: Types.IImageVolume | null = null;

  private constructor(name: string) {
    this.name = name;
    this.engine = new RenderingEngine(name);
  }

  static async create(): Promise<SliceRenderer> {
    const touch = matchMedia('(pointer: coarse)').matches;
    started ??= Promise.resolve(init({ isMobile: touch } as Parameters<typeof init>[0]));
    await started;
    cache.setMaxCacheSize(8 * 1024 * 1024 * 1024);
    return new SliceRenderer(`kerf-${++serial}`);
  }

  addPane(orientation: Orientation, element: HTMLDivElement): void {
    const viewportId = `${this.name}-${orientation}`;
    this.engine.enableElement({
      viewportId,
      element,
      type: Enums.ViewportType.ORTHOGRAPHIC,
      defaultOptions: { orientation: Enums.OrientationAxis.AXIAL, background: [0, 0, 0] },
    });
    this.panes.set(orientation, { viewport: this.engine.getViewport(viewportId) as Types.IVolumeViewport, element });
  }

  /** Shows a volume in every pane. Its voxels stay the caller's: they are read again when slicesChanged says so. */
  async setVolume(volume: ViewVolume, window: Window): Promise<void> {
    this.dropVolume();
    const { grid } = volume;
    this.volumeId = `kerf:${this.name}-${++serial}`;
    this.volume = volume;
    const columns = [0, 1, 2].flatMap((axis) => axisOf(grid, axis));
    this.image = volumeLoader.createLocalVolume(this.volumeId, {
      metadata: {} as Types.Metadata,
      dimensions: grid.dim,
      spacing: grid.spacing_mm,
      origin: grid.origin_lps,
      direction: columns as Types.Mat3,
      scalarData: volume.voxels as Types.PixelDataTypedArray,
    });
    const [lower, upper] = rangeOf(window);
    const ids = [...this.panes.keys()].map((o) => `${this.name}-${o}`);
    await setVolumesForViewports(this.engine as unknown as Types.IRenderingEngine, [{
      volumeId: this.volumeId,
      callback: ({ volumeActor }) => {
        const property = (volumeActor as Types.VolumeActor).getProperty();
        property.setInterpolationTypeToLinear();
        property.getRGBTransferFunction(0).setMappingRange(lower, upper);
      },
    }], ids);
  }

  setWindow(window: Window): void {
    const [lower, upper] = rangeOf(window);
    for (const { viewport } of this.panes.values()) {
      const actor = viewport.getDefaultActor()?.actor as Types.VolumeActor | undefined;
      actor?.getProperty().getRGBTransferFunction(0).setMappingRange(lower, upper);
    }
  }

  /** Slices k0..k1-1 hold other values now: only these go to the graphics card again. */
  slicesChanged(k0: number, k1: number): void {
    const texture = this.image?.vtkOpenGLTexture as { setUpdatedFrame(k: number): void } | undefined;
    if (!texture) return;
    for (let k = k0; k < k1; k++) texture.setUpdatedFrame(k);
  }

  /** Looks from the viewer's side at the slice through `focus`. */
  setCamera(orientation: Orientation, plane: Plane, view: PaneView, size: Size, focus: Vec3): void {
    const pane = this.panes.get(orientation);
    if (!pane || !this.volume) return;
    const normal = plane.into.map((c) => -c) as Vec3;
    const depth = (focus[0] - view.centre[0]) * plane.into[0] + (focus[1] - view.centre[1]) * plane.into[1]
      + (focus[2] - view.centre[2]) * plane.into[2];
    const focalPoint = add(view.centre, plane.into, depth);
    pane.viewport.setCamera({
      focalPoint,
      position: add(focalPoint, normal, 1000),
      viewPlaneNormal: normal,
      viewUp: plane.down.map((c) => -c) as Vec3,
      parallelProjection: true,
      parallelScale: (size.height / 2) * view.mmPerPx,
    });
  }

  render(orientation: Orientation): void {
    const pane = this.panes.get(orientation);
    if (pane && this.volume && pane.element.clientWidth > 0) this.engine.renderViewport(pane.viewport.id);
  }

  resize(): void {
    this.engine.resize(true, true);
  }

  private dropVolume(): void {
    if (!this.volumeId) return;
    const ids = this.image?.imageIds ?? [];
    cache.removeVolumeLoadObject(this.volumeId);
    for (const id of ids) if (cache.getImageLoadObject(id)) cache.removeImageLoadObject(id, { force: true });
    this.volumeId = '';
    this.image = null;
    this.volume = null;
  }

  destroy(): void {
    this.engine.destroy();
    this.dropVolume();
    this.panes.clear();
  }
}

// A volume in the page: the full grid in memory, filled from the coarsest level at once and then part by part from the
// slice that is looked at outward. Nothing waits for all of it.
import type { Artefact, GridMeta, ViewLevel } from '../api/types';
import { isSoundGrid, lpsToIjk, type Vec3 } from './geometry';
import { allocate, checkView, KvvError, partOrder, spread, type Voxels, type VoxelType } from './kvv';
import type { PartAnswer, PartOrder } from './kvv_worker';

type Waiting = { resolve: (part: { voxels: ArrayBuffer; wire: number }) => void; reject: (cause: Error) => void };

let worker: Worker | null = null;
let nextId = 1;
const waiting = new Map<number, Waiting>();

function partWorker(): Worker {
  if (worker) return worker;
  worker = new Worker(new URL('./kvv_worker.ts', import.meta.url), { type: 'module' });
  worker.onmessage = (message: MessageEvent<PartAnswer>) => {
    const answer = message.data;
    const who = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ('error' in answer) who?.reject(new KvvError(answer.error));
    else who?.resolve(answer);
  };
  return worker;
}

function loadPart(order: Omit<PartOrder, 'id'>): Promise<{ voxels: ArrayBuffer; wire: number }> {
  const id = nextId++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    partWorker().postMessage({ id, ...order } satisfies PartOrder);
  });
}

/** Parts in flight at a time; the browser has six connections, and the event stream keeps one. */
const streams = 3;

export class ViewVolume {
  readonly grid: GridMeta;
  readonly type: VoxelType;
  readonly voxels: Voxels;
  /** 0 nothing yet, 1 coarse, 2 exact; per slice k. */
  readonly detail: Uint8Array;
  /** Called with slices k0..k1-1 whenever they changed. */
  onSlices: (k0: number, k1: number) => void = () => undefined;
  onProgress: (fraction: number) => void = () => undefined;
  onError: (error: Error) => void = () => undefined;
  private readonly levels: ViewLevel[];
  private readonly done = new Set<number>();
  private readonly url: string;
  private focus = 0;
  private stopped = false;

  constructor(artefact: Artefact) {
    const { grid, view } = artefact.meta;
    if (!grid || !view) throw new KvvError('The server says too little about this volume to show it.');
    if (!isSoundGrid(grid)) throw new KvvError('The geometry of this volume is not one that can be trusted.');
    checkView(view, grid.dim);
    this.grid = grid;
    this.type = view.type;
    this.levels = view.levels;
    this.url = artefact.url;
    this.voxels = allocate(view.type, grid.dim[0] * grid.dim[1] * grid.dim[2]);
    this.detail = new Uint8Array(grid.dim[2]);
    this.focus = grid.dim[2] >> 1;
  }

  /** The slice (index k) whose surroundings are fetched next. */
  lookAt(k: number): void {
    this.focus = k;
  }

  stop(): void {
    this.stopped = true;
  }

  /** Loads all, the fine levels once `gate` opens; the promise ends when everything is exact. */
  async load(gate: Promise<void>): Promise<void> {
    try {
      if (this.levels.length > 1) {
        await this.loadCoarse(this.levels[0]);
        await gate;
      }
      await Promise.all(Array.from({ length: streams }, () => this.refine()));
    } catch (cause) {
      if (!this.stopped) this.onError(cause instanceof Error ? cause : new Error(String(cause)));
    }
  }

  private async loadCoarse(level: ViewLevel): Promise<void> {
    for (const part of level.parts) {
      const loaded = await this.fetch(level, part.k0);
      if (this.stopped) return;
      const [k0, k1] = [part.k0 * level.factor[2], Math.min(this.grid.dim[2], part.k1 * level.factor[2])];
      const own: ViewLevel = { ...level, dim: [level.dim[0], level.dim[1], part.k1 - part.k0] };
      const slab = this.voxels.subarray(k0 * this.sliceLength(), k1 * this.sliceLength());
      spread(loaded, own, slab, this.grid.dim, 0, k1 - k0);
      this.detail.fill(1, k0, k1);
      this.onSlices(k0, k1);
    }
  }

  private async refine(): Promise<void> {
    const level = this.levels[this.levels.length - 1];
    for (;;) {
      const index = partOrder(level, this.focus, this.done)[0];
      if (this.stopped || index === undefined) return;
      this.done.add(index);
      const part = level.parts[index];
      const exact = await this.fetch(level, part.k0);
      if (this.stopped) return;
      this.voxels.set(exact, part.k0 * this.sliceLength());
      this.detail.fill(2, part.k0, part.k1);
      this.onSlices(part.k0, part.k1);
      this.onProgress(this.exactShare());
    }
  }

  private async fetch(level: ViewLevel, k0: number): Promise<Voxels> {
    const part = level.parts.find((p) => p.k0 === k0);
    if (!part) throw new KvvError('No such part.');
    const { voxels } = await loadPart({
      url: this.url, offset: part.offset, length: part.length, type: this.type, dim: level.dim, slices: part.k1 - part.k0,
    });
    if (this.type === 'int16') return new Int16Array(voxels);
    return this.type === 'uint8' ? new Uint8Array(voxels) : new Float32Array(voxels);
  }

  /** How much of it is exact, 0 to 1. */
  exactShare(): number {
    return this.detail.reduce((n, d) => n + (d === 2 ? 1 : 0), 0) / this.detail.length;
  }

  sliceLength(): number {
    return this.grid.dim[0] * this.grid.dim[1];
  }

  /** The value of the voxel at a point, null outside; `exact` is false while only the coarse level is there. */
  valueAt(lps: Vec3): { value: number; exact: boolean } | null {
    const ijk = lpsToIjk(this.grid, lps).map(Math.round);
    if (ijk.some((n, axis) => n < 0 || n >= this.grid.dim[axis])) return null;
    const [i, j, k] = ijk;
    if (this.detail[k] === 0) return null;
    return { value: this.voxels[(k * this.grid.dim[1] + j) * this.grid.dim[0] + i], exact: this.detail[k] === 2 };
  }
}

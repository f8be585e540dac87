// Fetches, inflates and decodes parts off the page's own thread. One message in, one message out, matched by `id`.
import { decodePart, inflate, type VoxelType } from './kvv';

export interface PartOrder {
  id: number;
  url: string;
  offset: number;
  length: number;
  type: VoxelType;
  dim: [number, number, number];
  slices: number;
}

export type PartAnswer =
  | { id: number; voxels: ArrayBuffer; wire: number }
  | { id: number; error: string; status: number };

async function load(order: PartOrder): Promise<{ voxels: ArrayBuffer; wire: number }> {
  const last = order.offset + order.length - 1;
  const response = await fetch(order.url, {
    headers: { Range: `bytes=${order.offset}-${last}` },
    credentials: 'same-origin',
  });
  if (!response.ok) throw Object.assign(new Error(`The server answered ${response.status}.`), { status: response.status });
  let packed = await response.arrayBuffer();
  if (response.status === 200) packed = packed.slice(order.offset, order.offset + order.length);
  if (packed.byteLength !== order.length) throw new Error('The server sent a part of another length.');
  const voxels = decodePart(await inflate(packed), order.type, order.dim, order.slices);
  const buffer = voxels.buffer as ArrayBuffer;
  return { voxels: voxels.byteLength === buffer.byteLength ? buffer : buffer.slice(0, voxels.byteLength), wire: packed.byteLength };
}

self.onmessage = (message: MessageEvent<PartOrder>) => {
  const order = message.data;
  load(order).then(
    (part) => {
      const answer: PartAnswer = { id: order.id, ...part };
      (self as unknown as DedicatedWorkerGlobalScope).postMessage(answer, [part.voxels]);
    },
    (cause: unknown) => {
      const error = cause instanceof Error ? cause.message : String(cause);
      const status = (cause as { status?: number }).status ?? 0;
      (self as unknown as DedicatedWorkerGlobalScope).postMessage({ id: order.id, error, status } satisfies PartAnswer);
    },
  );
};

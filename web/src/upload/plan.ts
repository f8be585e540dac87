// Which files travel together. A zip goes alone; DICOM files go in batches small enough that a broken line costs little
// and large enough that a thousand slices are not a thousand requests.
import type { Dropped } from './walk';

export interface Batch {
  files: Dropped[];
  bytes: number;
}

export const mostBytes = 48 * 1024 * 1024;
export const mostFiles = 250;

const isArchive = (name: string): boolean => /\.zip$/i.test(name);

export function plan(files: readonly Dropped[]): Batch[] {
  const batches: Batch[] = [];
  let open: Batch = { files: [], bytes: 0 };
  const close = () => {
    if (open.files.length > 0) batches.push(open);
    open = { files: [], bytes: 0 };
  };
  for (const dropped of files) {
    const size = dropped.file.size;
    if (isArchive(dropped.path)) {
      batches.push({ files: [dropped], bytes: size });
      continue;
    }
    if (open.files.length >= mostFiles || (open.files.length > 0 && open.bytes + size > mostBytes)) close();
    open.files.push(dropped);
    open.bytes += size;
  }
  close();
  return batches;
}

// What was dropped: files as they are, folders walked to their last file.

/** A file and the name it is reported by: its path inside what was dropped. */
export interface Dropped {
  file: File;
  path: string;
}

const junk = /^(\.DS_Store|Thumbs\.db|desktop\.ini|\._.*)$/i;

function readBatch(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

async function walk(entry: FileSystemEntry, out: Dropped[]): Promise<void> {
  if (entry.isFile) {
    if (junk.test(entry.name)) return;
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    out.push({ file, path: entry.fullPath.replace(/^\//, '') });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // A reader hands out a directory in pieces and says so with an empty one at the end.
  for (let batch = await readBatch(reader); batch.length > 0; batch = await readBatch(reader)) {
    for (const child of batch) await walk(child, out);
  }
}

/** Entries must be taken before the first await: the drop's data is gone afterwards. */
export async function filesOfDrop(transfer: DataTransfer): Promise<Dropped[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = [...transfer.files];
  const out: Dropped[] = [];
  if (entries.every((entry) => entry === null)) return filesOfInput(plain);
  for (const entry of entries) if (entry) await walk(entry, out);
  return out;
}

export function filesOfInput(files: Iterable<File>): Dropped[] {
  return [...files]
    .filter((file) => !junk.test(file.name))
    .map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

// Files for the tests: a zip without compression, and the voxels of a NIfTI-1 volume.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

function crc32(bytes) {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = table[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

function record(signature, fields, name) {
  const bytes = Buffer.alloc(4 + fields.reduce((n, [size]) => n + size, 0));
  bytes.writeUInt32LE(signature, 0);
  let at = 4;
  for (const [size, value] of fields) {
    if (size === 2) bytes.writeUInt16LE(value, at);
    else bytes.writeUInt32LE(value, at);
    at += size;
  }
  return Buffer.concat([bytes, name]);
}

/** Writes the files of a folder, and further named buffers, into a zip. */
export function writeZip(path, folder, extra = {}) {
  const entries = readdirSync(folder).sort().filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => [name, readFileSync(join(folder, name))]).concat(Object.entries(extra));
  const chunks = [];
  const central = [];
  let offset = 0;
  for (const [name, bytes] of entries) {
    const utf8 = Buffer.from(`study/${name}`);
    const common = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x5a21], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, utf8.length], [2, 0]];
    const local = record(0x04034b50, common, utf8);
    central.push(record(0x02014b50, [[2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]], utf8));
    chunks.push(local, bytes);
    offset += local.length + bytes.length;
  }
  const directory = Buffer.concat(central);
  const end = record(0x06054b50, [[2, 0], [2, 0], [2, entries.length], [2, entries.length], [4, directory.length], [4, offset], [2, 0]], Buffer.alloc(0));
  writeFileSync(path, Buffer.concat([...chunks, directory, end]));
  return entries.length;
}

/** The int16 or float32 voxels of an uncompressed NIfTI-1 file, by index. */
export function niftiVoxels(bytes) {
  if (bytes.readInt32LE(0) !== 348) throw new Error('not NIfTI-1');
  const dim = [1, 2, 3].map((n) => bytes.readInt16LE(40 + 2 * n));
  const type = bytes.readInt16LE(70);
  const start = bytes.readFloatLE(108);
  const slope = bytes.readFloatLE(112) || 1;
  const offset = bytes.readFloatLE(116);
  const read = type === 4 ? (n) => bytes.readInt16LE(start + 2 * n) : (n) => bytes.readFloatLE(start + 4 * n);
  if (type !== 4 && type !== 16) throw new Error(`NIfTI type ${type}`);
  return { dim, at: (i, j, k) => read(i + dim[0] * (j + dim[1] * k)) * slope + offset };
}

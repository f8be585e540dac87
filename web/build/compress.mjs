// Writes FILE.br and FILE.gz beside every text-like file of the build, so that the server compresses nothing.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const kinds = new Set(['.js', '.css', '.html', '.svg', '.json', '.wasm', '.map', '.txt']);

/** @param {string} dir */
function* files(dir) {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else yield path;
  }
}

const root = process.argv[2] ?? 'dist';
let raw = 0;
let small = 0;
for (const path of files(root)) {
  if (!kinds.has(extname(path))) continue;
  const bytes = readFileSync(path);
  if (bytes.length < 512) continue;
  const br = brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 10, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
  writeFileSync(`${path}.br`, br);
  writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
  raw += bytes.length;
  small += br.length;
}
process.stdout.write(`compressed ${(raw / 1024).toFixed(0)} KiB to ${(small / 1024).toFixed(0)} KiB (brotli)\n`);

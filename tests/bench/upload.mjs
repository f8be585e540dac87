// Uploading 1 GB through STOW-RS in one request: throughput, and the most memory that the server and its children had
// resident. The target is less than 64 MB.
import { createReadStream, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { Kerf, bin, check, run, scratch, sleep } from '../lib/kerf.mjs';

const folder = scratch('kerf-bench.');
const files = [];
for (let seed = 1; seed <= 4; seed++) {
  const study = join(folder, `study${seed}`);
  const made = await run(join(bin, 'kerf'), ['phantom', 'head', '--out', study, '--size', '512x512x512', '--spacing', '0.45x0.45x0.45', '--seed', String(seed)]);
  check(made.code === 0, made.output);
  files.push(...readdirSync(study).map((f) => join(study, f)).filter((f) => statSync(f).isFile()));
}
const bytes = files.reduce((sum, f) => sum + statSync(f).size, 0);

// A worker that imports meanwhile would measure something else.
const kerf = await Kerf.start({ folder, settings: { KERF_SETTLE_S: '3600' } });
const token = kerf.token('technician');
const peak = {};
function note() {
  for (const p of kerf.processes()) {
    const name = p.argv[0]?.split('/').at(-1) ?? p.name;
    if (!name.startsWith('kerf-')) continue;
    try {
      const high = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${p.pid}/status`, 'utf8'))[1]) / 1024;
      peak[name] = Math.max(peak[name] ?? 0, high);
    } catch { /* it has just ended */ }
  }
}
note();
const before = { ...peak };
const timer = setInterval(note, 50);
const boundary = 'kerf-bench-boundary';
const began = process.hrtime.bigint();
const answer = await new Promise((resolve, reject) => {
  const r = request(`${kerf.url}/dicom-web/studies`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`, accept: 'application/dicom+json' },
  }, (response) => {
    let text = '';
    response.on('data', (b) => { text += b; });
    response.on('end', () => resolve({ status: response.statusCode, text }));
  });
  r.on('error', reject);
  (async () => {
    for (const file of files) {
      r.write(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`);
      for await (const piece of createReadStream(file, { highWaterMark: 1 << 18 }))
        if (!r.write(piece)) await new Promise((go) => r.once('drain', go));
      r.write('\r\n');
    }
    r.end(`--${boundary}--\r\n`);
  })().catch(reject);
});
const seconds = Number(process.hrtime.bigint() - began) / 1e9;
clearInterval(timer);
note();
await sleep(100);
await kerf.remove();
rmSync(folder, { recursive: true, force: true });
console.log('upload by STOW-RS, one request');
console.log(`  ${(bytes / 1e9).toFixed(2)} GB in ${files.length} instances: status ${answer.status}, ${seconds.toFixed(1)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, ${(files.length / seconds).toFixed(0)} instances/s`);
for (const [name, high] of Object.entries(peak)) console.log(`  ${name}: ${before[name]?.toFixed(1) ?? '–'} MB before, at most ${high.toFixed(1)} MB resident`);
const ok = answer.status === 200 && (peak['kerf-server'] ?? 1e9) < 64;
console.log(`  ${ok ? 'reached' : 'NOT REACHED'}: 1 GB with less than 64 MB resident in kerf-server`);
process.exit(ok ? 0 : 1);

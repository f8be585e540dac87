// A whole spine case on two threads, as the command line does it: CT 512 × 512 × 300 and MR 320 × 320 × 80 of one phantom,
// from DICOM to registered images and meshes. Time and peak memory of each stage; bounds: 60 s and 4 GB in all.
// `spine_case.mjs [SEED]`; the phantom itself is made first, in KERF_BENCH_DATA when that is set, and not counted. The
// column of processor time tells a slow program from a busy machine.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { must, readJson, withScratch } from '../accuracy/lib.mjs';

const bin = process.env.KERF_BIN ?? 'build/release/bin';
const seed = process.argv[2] ?? '31';
const BOUND_S = 60;
const BOUND_BYTES = 4e9;

// Runs kerf-job with two threads; { code, seconds, bytes, why }. The resident high-water mark is read while it runs.
function stage(args) {
  return new Promise((done) => {
    const began = process.hrtime.bigint();
    const child = spawn(join(bin, 'kerf-job'), [...args, '--threads', '2', '--quiet'], { stdio: ['ignore', 'ignore', 'pipe'] });
    let bytes = 0;
    let cpu = 0;
    let why = '';
    const look = setInterval(() => {
      try {
        const mark = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'));
        if (mark) bytes = Math.max(bytes, Number(mark[1]) * 1024);
        const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
        cpu = (Number(fields[11]) + Number(fields[12])) / 100; // user and system time in clock ticks
      } catch { /* it has just ended */ }
    }, 20);
    child.stderr.on('data', (text) => { why += text; });
    child.on('close', (code) => {
      clearInterval(look);
      done({ code, seconds: Number(process.hrtime.bigint() - began) / 1e9, cpu, bytes, why: why.trim() });
    });
  });
}

let failed = false;
let total = 0;
let busy = 0;
let peak = 0;

// Prints the row of one stage.
async function run(name, args) {
  const r = await stage(args);
  total += r.seconds;
  busy += r.cpu;
  peak = Math.max(peak, r.bytes);
  if (r.code !== 0) failed = true;
  const note = r.code === 0 ? '' : `  FAILED: ${r.why}`;
  console.log(`${name.padEnd(24)} ${r.seconds.toFixed(2).padStart(8)} s ${r.cpu.toFixed(2).padStart(7)} s ${(r.bytes / 1e9).toFixed(2).padStart(7)} GB${note}`);
  return r.code === 0;
}

await withScratch(async (dir) => {
  const at = (...names) => join(dir, ...names);
  const phantoms = join(process.env.KERF_BENCH_DATA ?? dir, `spine_case.${seed}`);
  if (!existsSync(phantoms)) {
    mkdirSync(`${phantoms}.part`, { recursive: true });
    must('kerf', ['phantom', 'spine', '--seed', seed, '--out', join(`${phantoms}.part`, 'ct'), '--size', '512x512x300']);
    must('kerf', ['phantom', 'spine-mr', '--seed', seed, '--out', join(`${phantoms}.part`, 'mr'), '--size', '320x320x80']);
    renameSync(`${phantoms}.part`, phantoms);
  }
  console.log(`spine case, phantom seed ${seed}, two threads\n${'stage'.padEnd(24)} ${'time'.padStart(10)} ${'processor'.padStart(9)} ${'peak'.padStart(10)}`);
  await run('import CT', ['import', '--in', join(phantoms, 'ct'), '--out', at('ct.nii')]);
  await run('import MR', ['import', '--in', join(phantoms, 'mr'), '--out', at('mr.nii')]);
  const found = await run('segment.spine CT', ['segment.spine', '--image', at('ct.nii'), '--out', at('seg.nii.gz')]);
  // The folder, not the file: what DICOM says of the modality comes along.
  const both = await run('segment.spine MR', ['segment.spine', '--image', join(phantoms, 'mr'), '--out', at('mrseg.nii.gz')]);
  await run('register CT, MR', ['register', '--fixed', at('ct.nii'), '--moving', at('mr.nii'), '--model', 'rigid', '--outside', '0',
    '--out', at('t.json'), '--warped', at('mr_in_ct.nii.gz')]);
  mkdirSync(at('mesh'));
  if (found) await run('mesh CT', ['mesh', '--labels', at('seg.nii.gz'), '--image', at('ct.nii'), '--table', at('seg.json'), '--out', at('mesh')]);
  if (both) await run('mesh MR', ['mesh', '--labels', at('mrseg.nii.gz'), '--table', at('mrseg.json'), '--out', at('mesh-mr')]);
  const segments = found ? readJson(at('seg.json')).segments.length : 0;
  const surfaces = readdirSync(at('mesh')).filter((name) => name.endsWith('.ply')).length;
  if (segments === 0 || surfaces !== segments) failed = true;
  console.log(`${segments} segments, ${surfaces} surfaces`);
});

const good = total < BOUND_S && peak < BOUND_BYTES;
console.log(`${'whole case'.padEnd(24)} ${total.toFixed(2).padStart(8)} s ${busy.toFixed(2).padStart(7)} s ${(peak / 1e9).toFixed(2).padStart(7)} GB  bounds ${BOUND_S} s, ${BOUND_BYTES / 1e9} GB: ${good ? 'kept' : 'MISSED'}`);
process.exit(failed || !good ? 1 : 0);

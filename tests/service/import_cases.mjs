// Every odd, irregular and tilted sample has its outcome in import_cases.tsv: what receipt (the index job) says of each
// file, and what the import job makes of a file or folder, with the reason. A code that changes fails here.
//   KERF_BIN=build/bin KERF_TEST_DATA=… node tests/service/import_cases.mjs [--print]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const bin = process.env.KERF_BIN;
const data = process.env.KERF_TEST_DATA;
if (!data) {
  console.log('skip import_cases: KERF_TEST_DATA is not set');
  process.exit(77);
}
const job = join(bin, 'kerf-job');
if (!existsSync(job)) {
  console.log('skip import_cases: kerf-job is not built');
  process.exit(77);
}
const scratch = mkdtempSync(join(tmpdir(), 'kerf-cases.'));
const here = dirname(fileURLToPath(import.meta.url));

function run(args) {
  const result = spawnSync(job, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.signal) return { crashed: result.signal, stdout: '', stderr: '' };
  return result;
}

// "stored", "aside:CODE" or "refused:CODE"; for a folder, of every file, counted.
function indexOutcome(path) {
  const out = join(scratch, 'index.jsonl');
  const r = run(['index', '--quiet', '--in', path, '--out', out]);
  if (r.crashed || r.status !== 0) return `broken:${r.crashed ?? r.stderr.trim()}`;
  const counts = new Map();
  for (const line of readFileSync(out, 'utf8').split('\n').filter(Boolean)) {
    const row = JSON.parse(line);
    const word = row.refused ? `refused:${row.refused.code}` : row.set_aside ? `aside:${row.set_aside}` : 'stored';
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].sort().map(([word, n]) => (n > 1 ? `${word}x${n}` : word)).join(',');
}

// "volumes:N CODE,CODE" with the corrections of all volumes, "none:CODE" for what is set aside, or "failed:CODE".
function importOutcome(path) {
  const report = join(scratch, 'report.json');
  const out = join(scratch, 'out.nii');
  rmSync(report, { force: true });
  const r = run(['import', '--quiet', '--in', path, '--out', out, '--report', report]);
  if (r.crashed) return `broken:${r.crashed}`;
  const code = /\[([a-z_0-9]+)\]\s*$/.exec(r.stderr.trim())?.[1];
  const facts = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {};
  if (r.status === 0) return `volumes:${facts.volumes} ${(facts.corrections ?? []).join(',')}`.trim();
  if (code === 'no_volume') return `none:${[...new Set((facts.set_aside ?? []).map((s) => s.code))].join(',')}`;
  return `failed:${code ?? r.stderr.trim()}`;
}

const table = readFileSync(join(here, 'import_cases.tsv'), 'utf8').split('\n')
  .filter((line) => line && !line.startsWith('#')).map((line) => line.split('\t'));

if (process.argv[2] === '--print') { // a fresh table, to be looked at line by line before it is committed
  const listed = new Map(table.map(([path, , , why]) => [path, why]));
  const paths = ['dicom/gantry_tilt_ge', 'abdomen_ct/dicom_j2k'];
  for (const group of readdirSync(join(data, 'dicom/irregular'))) {
    for (const n of readdirSync(join(data, 'dicom/irregular', group))) {
      if (statSync(join(data, 'dicom/irregular', group, n)).isDirectory()) paths.push(`dicom/irregular/${group}/${n}`);
    }
  }
  paths.push('dicom/seg/ct-3slice', 'dicom/seg/23x38x3/image', 'dicom/seg/23x38x3/multiframe',
    'dicom/seg/24x38x3/image', 'dicom/seg/24x38x3/multiframe');
  for (const f of readdirSync(join(data, 'dicom/seg')).filter((n) => n.endsWith('.dcm'))) paths.push(`dicom/seg/${f}`);
  for (const f of readdirSync(join(data, 'dicom/odd_files'))) {
    paths.push(f === 'dicomdirtests' ? `dicom/odd_files/${f}/DICOMDIR-empty.dcm` : `dicom/odd_files/${f}`);
  }
  for (const path of paths) {
    const full = join(data, path);
    console.log([path, indexOutcome(full), importOutcome(full), listed.get(path) ?? '?'].join('\t'));
  }
  process.exit(0);
}

let failures = 0;
const seen = new Set();
for (const [path, index, volume] of table) {
  seen.add(path.split('/').slice(0, 3).join('/'));
  const full = join(data, path);
  if (!existsSync(full)) {
    console.log(`FAIL ${path}: the sample is gone`);
    failures++;
    continue;
  }
  const found = [indexOutcome(full), importOutcome(full)];
  const good = found[0] === index && found[1] === volume;
  console.log(good ? `pass ${path}: ${volume}` : `FAIL ${path}: ${found.join(' | ')}, expected ${index} | ${volume}`);
  if (!good) failures++;
}
for (const folder of ['odd_files', 'irregular']) { // a new sample needs a line
  for (const name of readdirSync(join(data, 'dicom', folder))) {
    if (seen.has(`dicom/${folder}/${name}`)) continue;
    console.log(`FAIL dicom/${folder}/${name}: not in import_cases.tsv`);
    failures++;
  }
}
rmSync(scratch, { recursive: true });
process.exit(failures ? 1 : 0);

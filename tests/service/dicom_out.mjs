// What Kerf writes as DICOM: `import` and dcm2niix read the same voxels in the same place as from our NIfTI, an
// independent reader finds every label in the segmentation, the same content gives the same bytes and nothing of a
// patient, and a failure leaves nothing behind.
//   KERF_BIN=build/bin KERF_TEST_TOOLS=build/tests node tests/service/dicom_out.mjs
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareVolumes, readNifti, toWorld } from './nifti.mjs';

const bin = process.env.KERF_BIN;
const tools = process.env.KERF_TEST_TOOLS ?? join(bin, '..', 'tests');
const job = join(bin, 'kerf-job');
if (!existsSync(job)) {
  console.log('skip dicom_out: kerf-job is not built');
  process.exit(77);
}
const has = (program) => !spawnSync(program, ['-h']).error;
const scratch = mkdtempSync(join(tmpdir(), 'kerf-dicom-out.'));
const at = (name) => join(scratch, name);
let failures = 0;

function test(name, body) {
  try {
    const said = body();
    console.log(`pass ${name}${said ? `: ${said}` : ''}`);
  } catch (error) {
    failures++;
    console.log(`FAIL ${name}: ${error.message}\n${error.stderr ?? ''}`);
  }
}

function skip(name, why) {
  console.log(`skip ${name}: ${why}`);
}

function check(good, what) {
  if (!good) throw new Error(what);
}

// One thread where nothing else is asked for: many of them on a busy machine wait for each other.
const run = (kind, ...args) => spawnSync(job, [kind, ...args.includes('--threads') ? [] : ['--threads', '1'], ...args],
  { encoding: 'utf8' });
function must(...args) {
  const r = run(...args);
  check(r.status === 0, `${args.join(' ')}: ${r.stderr}`);
}

// The kind as a folder and as NIfTI, once: { folder, nifti, rounded }.
const made = new Map();
function make(kind) {
  if (!made.has(kind)) {
    const folder = at(`made-${kind}`);
    mkdirSync(folder);
    const said = execFileSync(join(tools, 'dicom_out_make'), [kind, folder, at(`${kind}.nii`)], { encoding: 'utf8' });
    made.set(kind, { folder, nifti: at(`${kind}.nii`), rounded: Number(said) });
  }
  return made.get(kind);
}

const bytesOf = (folder) => readdirSync(folder).sort()
  .map((f) => [f, readFileSync(join(folder, f)).toString('latin1')]);
const sameFolder = (a, b) => JSON.stringify(bytesOf(a)) === JSON.stringify(bytesOf(b));

// Equal to what rounding allows: values are single precision in both files.
function expectEqual(ours, theirs, rounded, mostMm) {
  let largest = 0;
  const voxels = ours.dim[0] * ours.dim[1] * ours.dim[2];
  for (let n = 0; n < voxels; n++) largest = Math.max(largest, Math.abs(ours.at(n)));
  const r = compareVolumes(ours, theirs);
  const allowed = rounded ? rounded + largest * 2e-7 : 0;
  const good = r.voxels > 0 && r.worst <= allowed && (rounded || r.different === 0);
  check(good, `${r.different} voxels differ, by up to ${r.worst}`);
  check(r.farthestMm <= mostMm, `corners ${r.farthestMm} mm apart`);
  return `${r.voxels} voxels, within ${r.worst.toPrecision(2)} and ${r.farthestMm.toExponential(1)} mm`;
}

const exact = ['ct', 'all-of-int16', 'sagittal', 'flipped', 'left-handed', 'mr-high', 'mr-negative', 'bytes',
  'unsigned', 'shifted', 'whole-floats', 'constant'];
const rounding = ['fractions', 'tiny', 'huge'];
for (const kind of [...exact, ...rounding]) {
  test(`import_reads_${kind}`, () => {
    const m = make(kind);
    check(rounding.includes(kind) === m.rounded > 0, `a rounding of ${m.rounded} is said`);
    must('import', '--in', m.folder, '--out', at(`${kind}.back.nii`), '--quiet');
    return expectEqual(readNifti(m.nifti), readNifti(at(`${kind}.back.nii`)), m.rounded, 1e-5);
  });
}
test('half_a_step_is_the_most_that_rounding_moves', () => {
  const { rounded } = make('fractions');
  check(rounded <= (1234.5 + 0.75) / 65535 / 2 * 1.001, `fractions move by ${rounded}`);
});

const D2N = 'dcm2niix';
for (const kind of [...exact, ...rounding]) {
  if (!has(D2N)) {
    skip(`dcm2niix_reads_${kind}`, 'dcm2niix is not installed');
    continue;
  }
  if (['tiny', 'huge'].includes(kind)) continue; // it keeps its own scale of values
  test(`dcm2niix_reads_${kind}`, () => {
    const m = make(kind), out = at(`${kind}.d2n`);
    mkdirSync(out);
    spawnSync(D2N, ['-b', 'n', '-z', 'n', '-x', 'n', '-m', 'y', '-f', 'x', '-o', out, m.folder]);
    const [file] = readdirSync(out).filter((f) => /\.nii$/.test(f));
    check(file, 'it read nothing');
    return expectEqual(readNifti(m.nifti), readNifti(join(out, file)), m.rounded, 1e-3);
  });
}

// ---- a segmentation, by a reader that shares nothing with the writer but the data dictionary of dcm2json ----

const value = (item, tag) => item[tag]?.Value?.[0];
const numbers = (item, tag) => item[tag].Value.map(Number);

// [{ number, label, name, category, type, colour, side }] and for each voxel of `image` the segment numbers over it.
function readSegmentation(path, image) {
  const d = JSON.parse(execFileSync('dcm2json', [path], { encoding: 'utf8', maxBuffer: 1 << 28 }));
  const segments = d['00620002'].Value.map((s) => ({
    number: value(s, '00620004'), label: Number(value(s, '00620006').split(' ')[1]), name: value(s, '00620005'),
    algorithm: `${value(s, '00620008')} ${value(s, '00620009')}`,
    category: value(value(s, '00620003'), '00080100'), type: value(value(s, '0062000F'), '00080100'),
    colour: s['0062000D']?.Value, side: value(value(value(s, '0062000F'), '00620011') ?? {}, '00080104'),
  }));
  const shared = value(d, '52009229'), rows = value(d, '00280010'), columns = value(d, '00280011');
  const turn = numbers(value(shared, '00209116'), '00200037');
  const pair = numbers(value(shared, '00289110'), '00280030');
  const bits = Buffer.from(d['7FE00010'].InlineBinary, 'base64');
  const found = new Map(); // index of a voxel → labels over it
  let farthestMm = 0;
  d['52009230'].Value.forEach((frame, f) => {
    const p = numbers(value(frame, '00209113'), '00200032');
    const number = value(value(frame, '0062000A'), '0062000B');
    const k = value(frame, '00209111')['00209157'].Value[1] - 1;
    for (const [i, j] of [[0, 0], [columns - 1, rows - 1]]) {
      const lps = [0, 1, 2].map((r) => p[r] + turn[r] * pair[1] * i + turn[3 + r] * pair[0] * j);
      const ras = toWorld(image.affine, [i, j, k]);
      farthestMm = Math.max(farthestMm, Math.hypot(lps[0] + ras[0], lps[1] + ras[1], lps[2] - ras[2]));
    }
    for (let n = 0; n < rows * columns; n++) {
      const bit = f * rows * columns + n;
      if (!(bits[bit >> 3] >> (bit & 7) & 1)) continue;
      const voxel = k * rows * columns + n;
      found.set(voxel, [...found.get(voxel) ?? [], segments.find((s) => s.number === number).label]);
    }
  });
  return { d, segments, found, farthestMm };
}

function expectLabels(path, nifti) {
  const image = readNifti(nifti), s = readSegmentation(path, image);
  let different = 0;
  const voxels = image.dim[0] * image.dim[1] * image.dim[2];
  for (let n = 0; n < voxels; n++) {
    const here = s.found.get(n) ?? [];
    if (here.length > 1 || (here[0] ?? 0) !== image.at(n)) different++;
  }
  check(different === 0 && s.found.size > 0, `${different} of ${voxels} voxels differ`);
  check(s.farthestMm < 1e-3, `corners ${s.farthestMm} mm apart`); // the NIfTI's floats
  return { ...s, said: `${s.found.size} of ${voxels} voxels labelled, within ${s.farthestMm.toExponential(1)} mm` };
}

if (!has('dcm2json')) {
  skip('segmentations', 'DCMTK\'s dcm2json is not installed');
} else {
  test('a_segmentation_holds_every_label_in_its_place', () => {
    const m = make('seg'), s = expectLabels(join(m.folder, 'SEG.dcm'), m.nifti);
    const numbered = JSON.stringify(s.segments.map((x) => [x.number, x.label]));
    check(numbered === '[[1,1],[2,2],[3,77],[4,203]]', `segments are ${numbered}`);
    check(s.segments.every((x) => x.algorithm === 'AUTOMATIC Kerf test 1'), 'the algorithm is not named');
    check(s.segments[0].type === '272673000' && s.segments[0].category === '123037004', 'codes of bone');
    check(s.segments[1].side === 'Right', 'the side');
    check(s.segments[3].category === '260787004', 'an implant is no anatomy');
    // CIELab of sRGB red is 53.24, 80.09, 67.20; PS3.3 C.10.7.1.1 says how it is stored.
    const red = [53.24 / 100 * 65535, (80.09 + 128) / 255 * 65535, (67.2 + 128) / 255 * 65535];
    check(s.segments[0].colour.every((v, n) => Math.abs(v - red[n]) < 30), `red is ${s.segments[0].colour}`);
    check(value(s.d, '00200052') === '1.2.3.4', 'the frame of reference is another');
    return s.said;
  });
}
const isMissing = (name) => !existsSync(at(name));
for (const [kind, code] of [['nan', 'values_not_finite'], ['pet', 'modality'], ['cancelled', 'cancelled'],
  ['seg-empty', 'labels_empty'], ['seg-unknown', 'label_unknown']]) {
  test(`${kind}_is_refused_by_name`, () => {
    mkdirSync(at(kind));
    const r = spawnSync(join(tools, 'dicom_out_make'), [kind, at(kind), at('x.nii')], { encoding: 'utf8' });
    check(r.status === 1 && r.stderr.includes(`[${code}]`), r.stderr);
  });
}

// ---- PS3.3, by a checker of its own ----

for (const [kind, file] of [['ct', 'IM000001.dcm'], ['mr-high', 'IM000003.dcm'], ['seg', 'SEG.dcm']]) {
  if (!has('dciodvfy')) {
    skip(`dciodvfy_passes_${kind}`, 'dicom3tools is not installed');
    continue;
  }
  test(`dciodvfy_passes_${kind}`, () => {
    const r = spawnSync('dciodvfy', [join(make(kind).folder, file)], { encoding: 'utf8' });
    const errors = `${r.stdout}${r.stderr}`.split('\n').filter((l) => /^Error/.test(l));
    check(/Segmentation|CTImage|MRImage/.test(r.stderr + r.stdout) && errors.length === 0, errors.join('\n'));
  });
}

// ---- the command line ----

const phantom = (kind, ...args) => execFileSync(join(bin, 'kerf'), ['phantom', kind, '--threads', '1', ...args],
  { stdio: 'ignore' });
phantom('head', '--out', at('head'), '--size', '64x60x56', '--spacing', '2.75x2.9x3', '--tilt', '12',
  '--patient', 'SECRET^NAME');
phantom('spine-mr', '--out', at('mr'), '--size', '48x48x30', '--spacing', '4x4x6');

for (const name of ['head', 'mr']) {
  test(`${name}_through_the_command_line_comes_back`, () => {
    must('import', '--in', at(name), '--out', at(`${name}.nii`), '--quiet');
    must('import', '--in', at(name), '--out', `${at(`${name}.1`)}/`, '--threads', '1', '--quiet');
    must('import', '--in', at(name), '--out', `${at(`${name}.3`)}/`, '--threads', '3', '--quiet');
    check(sameFolder(at(`${name}.1`), at(`${name}.3`)), 'the threads are seen in the bytes');
    must('import', '--in', at(`${name}.1`), '--out', at(`${name}.back.nii`), '--quiet');
    check(!JSON.stringify(bytesOf(at(`${name}.1`))).includes('SECRET'), 'the patient\'s name is in the files');
    return expectEqual(readNifti(at(`${name}.nii`)), readNifti(at(`${name}.back.nii`)), 0, 1e-6);
  });
}
test('what_we_wrote_is_read_and_written_the_same', () => {
  must('import', '--in', at('mr.1'), '--out', `${at('mr.again')}/`, '--quiet');
  check(sameFolder(at('mr.1'), at('mr.again')), 'the bytes differ');
});
test('labels_through_the_command_line_are_those_of_the_nifti', () => {
  must('segment.head', '--image', at('head.1'), '--out', at('seg.nii.gz'), '--quiet');
  must('segment.head', '--image', at('head.1'), '--out', `${at('seg')}/`, '--threads', '1', '--quiet');
  must('segment.head', '--image', at('head.1'), '--out', `${at('seg.3')}/`, '--threads', '3', '--quiet');
  check(sameFolder(at('seg'), at('seg.3')), 'the threads are seen in the bytes');
  check(readFileSync(at('seg.3.json'), 'utf8') === readFileSync(at('seg.json'), 'utf8'), 'the tables differ');
  if (!has('dcm2json')) return 'not read: DCMTK\'s dcm2json is not installed';
  const s = expectLabels(join(at('seg'), 'SEG.dcm'), at('seg.nii.gz'));
  const table = JSON.parse(readFileSync(at('seg.json'), 'utf8')).segments;
  const rows = (list) => JSON.stringify(list.map((t) => [t.label, t.name]));
  check(rows(table) === rows(s.segments), 'other segments than the table has');
  check(table.every((t, n) => (t.code?.value ?? '123037004') === s.segments[n].type), 'other codes than the table has');
  const slice = JSON.parse(execFileSync('dcm2json', [join(at('head.1'), 'IM000001.dcm')], { encoding: 'utf8' }));
  const source = JSON.parse(execFileSync('dcm2json', [join(at('head'), 'IM000001.dcm')], { encoding: 'utf8' }));
  check(value(s.d, '00200052') === value(source, '00200052'), 'the frame of reference is lost');
  check(value(s.d, '0020000D') === value(slice, '0020000D'), 'image and labels of one frame lie in two studies');
  return s.said;
});
const warp = (out, ...args) => run('register', '--fixed', at('head.nii'), '--moving', at('head.nii'), '--samples',
  '1000', '--both_ways', 'false', '--out', at('t.json'), '--warped', out, '--quiet', ...args);
test('a_file_must_say_what_it_shows', () => {
  const r = warp(`${at('warped')}/`);
  check(r.status === 1 && r.stderr.includes('[modality_unknown]'), r.stderr);
  check(isMissing('warped') && isMissing('t.json'), 'there is a result all the same');
  const p = warp(`${at('warped')}/`, '--modality', 'PT');
  check(p.status === 1 && p.stderr.includes('[modality_not_written]') && isMissing('warped'), p.stderr);
});
test('a_warped_image_is_that_of_the_nifti', () => {
  const a = warp(`${at('warped')}/`, '--modality', 'CT'), b = warp(at('warped.nii'));
  check(a.status === 0 && b.status === 0, `${a.stderr}${b.stderr}`);
  must('import', '--in', at('warped'), '--out', at('warped.back.nii'), '--quiet');
  return expectEqual(readNifti(at('warped.nii')), readNifti(at('warped.back.nii')), 0, 1e-6);
});
test('rounding_is_said_in_the_report', () => {
  const { nifti } = make('fractions');
  must('register', '--fixed', nifti, '--moving', nifti, '--samples', '1000', '--out', at('t.json'), '--modality', 'MR',
    '--warped', `${at('fractions.warped')}/`, '--report', at('report.json'), '--quiet');
  const warnings = JSON.parse(readFileSync(at('report.json'), 'utf8')).warnings ?? [];
  check(warnings.some((w) => w.code === 'values_rounded'), JSON.stringify(warnings));
});
test('an_empty_folder_will_do_and_another_is_refused_before_any_work', () => {
  mkdirSync(at('empty'));
  must('import', '--in', at('head'), '--out', `${at('empty')}/`, '--quiet');
  const before = bytesOf(at('empty')).length;
  writeFileSync(at('text.nii'), 'hello');
  const r = run('segment.bone', '--image', at('text.nii'), '--out', `${at('empty')}/`, '--quiet');
  check(r.status === 2 && r.stderr.includes('[folder_not_empty]'), r.stderr);
  check(bytesOf(at('empty')).length === before, 'the folder was touched');
  const none = run('segment.bone', '--image', at('text.nii'), '--out', `${at('none/none')}/`, '--quiet');
  check(none.status === 2, `a folder in no folder: ${none.stderr}`);
  const here = run('segment.bone', '--image', at('text.nii'), '--out', './', '--quiet');
  check(here.status === 2 && here.stderr.includes('[bad_usage]'), here.stderr);
});
test('a_sheared_image_is_refused_by_name', () => {
  const bytes = readFileSync(at('head.nii'));
  bytes.writeFloatLE(1.5, 280 + 4); // x also grows with j
  bytes.writeInt16LE(0, 252); // no qform
  bytes.fill(0, 348, 352); // no extension, which holds the affine in doubles
  writeFileSync(at('sheared.nii'), bytes);
  const r = run('segment.bone', '--image', at('sheared.nii'), '--out', `${at('sheared')}/`, '--quiet');
  check(r.status === 1 && r.stderr.includes('[nifti_geometry]') && isMissing('sheared'), r.stderr);
});

// ---- a disk that fills up ----

const small = at('small');
mkdirSync(small);
const mount = ['-t', 'tmpfs', '-o', 'size=128k,mode=755', 'tmpfs', small];
if (process.getuid() !== 0 || spawnSync('mount', mount).status !== 0) {
  skip('a_full_disk_leaves_nothing_behind', 'only root can mount a small file system');
} else {
  test('a_full_disk_leaves_nothing_behind', () => {
    const image = run('import', '--in', at('head'), '--out', `${small}/ct/`, '--quiet');
    check(image.status === 75 && image.stderr.includes('[no_space]'), `${image.status} ${image.stderr}`);
    check(readdirSync(small).length === 0, `there is ${readdirSync(small)}`);
    mkdirSync(join(small, 'kept'));
    writeFileSync(join(small, 'ballast'), Buffer.alloc(100 << 10));
    const labels = run('segment.head', '--image', at('head.1'), '--out', `${small}/kept/`, '--quiet');
    check(labels.status === 75 && labels.stderr.includes('[no_space]'), `${labels.status} ${labels.stderr}`);
    check(readdirSync(join(small, 'kept')).length === 0, 'half a segmentation is there');
    check(readdirSync(small).join() === 'ballast,kept', `there is ${readdirSync(small)}`);
  });
  spawnSync('umount', ['-l', small]);
}
rmSync(scratch, { recursive: true, force: true });
process.exit(failures ? 1 : 0);

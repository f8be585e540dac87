// What the import and index jobs do with a series that somebody bent: slices taken out, doubled, cut, rescaled, marked.
//   KERF_BIN=build/bin KERF_TEST_TOOLS=build/tests node tests/service/import_job.mjs
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareVolumes, readNifti } from './nifti.mjs';

const bin = process.env.KERF_BIN;
const tools = process.env.KERF_TEST_TOOLS ?? join(bin, '..', 'tests');
const job = join(bin, 'kerf-job');
if (!existsSync(job) || spawnSync('dcmodify', ['--version']).error) {
  console.log('skip import_job: kerf-job is not built or dcmtk is not installed');
  process.exit(77);
}
const scratch = mkdtempSync(join(tmpdir(), 'kerf-import.'));
let n = 0;

function make(kind) {
  const folder = join(scratch, `${n++}-${kind}`);
  mkdirSync(folder);
  execFileSync(join(tools, 'import_make'), [kind, folder], { stdio: 'ignore' });
  return folder;
}
const slice = (folder, i) => join(folder, `IM${String(i).padStart(6, '0')}.dcm`);
const modify = (files, ...args) => execFileSync('dcmodify', ['-nb', ...args, ...[files].flat()], { stdio: 'ignore' });
const all = (folder) => Array.from({ length: 12 }, (_, i) => slice(folder, i + 1));

function runImport(folder, ...args) {
  const out = join(scratch, `out${n++}.nii`);
  const report = `${out}.json`;
  const r = spawnSync(job, ['import', '--quiet', '--in', folder, '--out', out, '--report', report, ...args],
    { encoding: 'utf8' });
  assert.equal(r.signal, null, `kerf-job died of ${r.signal}`);
  return {
    status: r.status, out, stdout: r.stdout, stderr: r.stderr,
    code: /\[([a-z_0-9]+)\]\s*$/.exec(r.stderr.trim())?.[1],
    report: existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {},
  };
}

const straight = make('explicit');
const whole = readNifti(runImport(straight).out);
const same = (path) => {
  const r = compareVolumes(readNifti(path), whole);
  assert.equal(r.different, 0);
  assert.ok(r.farthestMm < 1e-9);
};

const tests = {
  threads_do_not_change_a_byte() {
    const one = runImport(straight, '--threads', '1');
    const three = runImport(straight, '--threads', '3');
    assert.ok(readFileSync(one.out).equals(readFileSync(three.out)));
    const oblique = make('oblique');
    assert.ok(readFileSync(runImport(oblique, '--threads', '1').out)
      .equals(readFileSync(runImport(oblique, '--threads', '4').out)));
  },
  gzip_holds_the_same() {
    const out = join(scratch, 'packed.nii.gz');
    execFileSync(job, ['import', '--quiet', '--in', straight, '--out', out]);
    same(out);
  },
  a_missing_slice_fails_and_is_named() {
    const folder = make('explicit');
    rmSync(slice(folder, 7));
    const r = runImport(folder);
    assert.equal(r.status, 1);
    assert.equal(r.code, 'missing_slice');
    assert.match(r.stderr, /instance 6 and instance 8/);
    assert.ok(!existsSync(r.out));
  },
  a_doubled_slice_is_dropped() {
    const folder = make('explicit');
    copyFileSync(slice(folder, 5), join(folder, 'copy.dcm'));
    modify(join(folder, 'copy.dcm'), '-gin', '-m', '(0020,0013)=99');
    const r = runImport(folder);
    assert.equal(r.status, 0, r.stderr);
    assert.deepEqual(r.report.corrections, ['duplicates_dropped']);
    same(r.out);
  },
  another_slice_in_the_same_place_fails() {
    const folder = make('explicit');
    copyFileSync(slice(folder, 5), join(folder, 'copy.dcm'));
    modify(join(folder, 'copy.dcm'), '-gin', '-m', '(0020,0013)=99', '-m', '(0028,1052)=-1000');
    const r = runImport(folder);
    assert.equal(r.code, 'duplicate_position');
    assert.match(r.stderr, /instance 5 and instance 99/);
  },
  a_fractional_slope_gives_float() {
    const folder = make('explicit');
    modify(all(folder), '-m', '(0028,1053)=0.3', '-m', '(0028,1052)=-7.25');
    const r = runImport(folder);
    assert.equal(r.status, 0, r.stderr);
    const volume = readNifti(r.out);
    for (const i of [0, 777, 9999, 15359]) {
      const stored = whole.at(i) + 1024; // the writer stores HU + 1024
      assert.ok(Math.abs(volume.at(i) - (stored * 0.3 - 7.25)) < 1e-3, `${volume.at(i)} of ${stored}`);
    }
  },
  one_value_that_does_not_fit_makes_all_float() {
    const folder = make('explicit');
    modify(slice(folder, 12), '-m', '(0028,1052)=32000');
    const r = runImport(folder);
    assert.equal(r.status, 0, r.stderr);
    const volume = readNifti(r.out);
    const last = 40 * 32 * 11 + 500;
    assert.equal(volume.at(last), whole.at(last) + 1024 + 32000);
    assert.equal(volume.at(500), whole.at(500));
    assert.ok(volume.at(last) > 32767 || whole.at(last) + 33024 <= 32767);
  },
  a_cut_slice_at_the_end_is_said() {
    const folder = make('explicit');
    truncateSync(slice(folder, 12), 900);
    const r = runImport(folder);
    assert.equal(r.status, 0, r.stderr);
    assert.equal(r.report.problems.length, 1);
    assert.ok(r.report.warnings.some((w) => w.code === 'instances_left_out'));
    assert.equal(readNifti(r.out).dim[2], 11);
  },
  a_cut_slice_in_the_middle_fails() {
    const folder = make('explicit');
    truncateSync(slice(folder, 6), 900);
    const r = runImport(folder);
    assert.equal(r.status, 1);
    assert.deepEqual(r.report.problems.map((p) => p.code).sort(), [r.code, 'missing_slice'].sort());
  },
  a_damaged_coded_slice_is_named() {
    const folder = make('jpeg-lossless');
    const bytes = readFileSync(slice(folder, 4));
    bytes.fill(0x41, bytes.length - 400, bytes.length - 60);
    writeFileSync(slice(folder, 4), bytes);
    const r = runImport(folder);
    if (r.status !== 0) { // damage may also decode to nonsense: only a refusal must name its slice
      assert.equal(r.code, 'bad_pixels');
      assert.match(r.stderr, /instance 4/);
    }
    bytes.fill(0, bytes.length - 1000, bytes.length - 8);
    writeFileSync(slice(folder, 4), bytes);
    const worse = runImport(folder);
    assert.equal(worse.status, 1);
    assert.match(worse.stderr, /instance 4|input 4/);
  },
  a_modality_table_is_refused() {
    const folder = make('explicit');
    modify(all(folder), '-i', '(0028,3000)[0].(0028,3002)=2\\0\\16', '-i', '(0028,3000)[0].(0028,3004)=HU');
    assert.equal(runImport(folder).code, 'modality_lut');
  },
  localizers_and_screen_pictures_stand_aside() {
    const folder = make('explicit');
    modify(slice(folder, 1), '-m', '(0008,0008)=ORIGINAL\\PRIMARY\\LOCALIZER');
    modify(slice(folder, 12), '-m', '(0008,0016)=1.2.840.10008.5.1.4.1.1.7');
    const r = runImport(folder);
    assert.equal(r.status, 0, r.stderr);
    assert.deepEqual(r.report.set_aside.map((s) => s.code).sort(), ['localizer', 'secondary_capture']);
    assert.equal(readNifti(r.out).dim[2], 10);
  },
  another_frame_of_reference_is_another_volume() {
    const folder = make('explicit');
    modify(all(folder).slice(6), '-m', '(0020,0052)=1.2.3.4');
    const r = runImport(folder);
    assert.equal(r.status, 0, r.stderr);
    assert.equal(r.report.volumes, 2);
    assert.equal(readNifti(r.out).dim[2], 6);
  },
  the_largest_series_is_taken_and_said() {
    const folder = make('explicit');
    const other = make('mr');
    for (let i = 1; i <= 4; i++) copyFileSync(slice(other, i), join(folder, `mr${i}.dcm`));
    writeFileSync(join(folder, 'README.txt'), 'this is not DICOM, and does not matter');
    const r = runImport(folder);
    assert.equal(r.status, 0, r.stderr);
    assert.ok(r.report.warnings.some((w) => w.code === 'largest_series'));
    same(r.out);
    const list = runImport(folder, '--list').stdout.trim().split('\n');
    assert.equal(list.length, 2);
    const mr = list.find((line) => line.includes(' MR ')).split(' ')[0];
    const chosen = runImport(folder, '--series', mr);
    assert.equal(chosen.status, 0, chosen.stderr);
    assert.equal(readNifti(chosen.out).dim[2], 4);
    assert.equal(runImport(folder, '--series', '1.2.3').code, 'no_such_series');
  },
  an_empty_folder_is_refused() {
    const folder = join(scratch, 'empty');
    mkdirSync(folder);
    assert.notEqual(runImport(folder).status, 0);
  },
  the_service_form_is_sandboxed_and_takes_one_series() {
    const out = join(scratch, 'service');
    mkdirSync(out);
    const inputs = [...all(straight), slice(make('mr'), 1)].map((path) => ({
      name: 'instance', path, offset: 0, length: readFileSync(path).length, sha256: '', media_type: 'application/dicom',
    }));
    const spec = { kind: 'import', version: 2, params: {}, inputs: inputs.slice(0, 12), out, threads: 2 };
    writeFileSync(join(scratch, 'spec.json'), JSON.stringify(spec));
    execFileSync(job, ['import', '--spec', join(scratch, 'spec.json')]);
    const result = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'));
    assert.deepEqual(result.outputs.map((o) => [o.name, o.kind]), [['volume.0', 'volume']]);
    const { meta } = result.outputs[0];
    assert.deepEqual(meta.grid.dim, [40, 32, 12]);
    assert.equal(meta.units, 'HU');
    assert.equal(meta.quality.gate, 'no_guide');
    same(join(out, 'volume.0.nii'));
    writeFileSync(join(scratch, 'spec.json'), JSON.stringify({ ...spec, inputs }));
    const two = spawnSync(job, ['import', '--spec', join(scratch, 'spec.json')], { stdio: 'ignore' });
    assert.equal(two.status, 1);
    assert.equal(JSON.parse(readFileSync(join(out, 'error.json'), 'utf8')).code, 'several_series');
  },
  index_lists_what_archives_hold() {
    if (spawnSync('zip', ['-v']).error) return 'zip is not installed';
    const folder = make('explicit');
    writeFileSync(join(folder, 'notes.txt'), 'nothing that anybody could take for an image');
    const zip = join(scratch, 'study.zip');
    execFileSync('zip', ['-q', '-r', zip, '.'], { cwd: folder });
    const list = (path) => {
      const out = join(scratch, 'index.jsonl');
      execFileSync(job, ['index', '--quiet', '--in', path, '--out', out]);
      return readFileSync(out, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
    };
    const rows = list(zip);
    assert.equal(rows.length, 13);
    assert.deepEqual(rows.filter((r) => r.refused).map((r) => [r.file, r.refused.code]),
      [['study.zip!/notes.txt', 'not_dicom']]);
    const plain = list(folder).filter((r) => !r.refused);
    assert.deepEqual(rows.filter((r) => !r.refused).map((r) => r.content_sha256).sort(),
      plain.map((r) => r.content_sha256).sort());
    truncateSync(zip, Math.floor(readFileSync(zip).length / 2));
    assert.equal(list(zip).at(-1).refused.code, 'truncated_zip');
    return undefined;
  },
};

let failures = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    const skipped = test();
    console.log(skipped ? `skip ${name}: ${skipped}` : `pass ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error.message}`);
    failures++;
  }
}
rmSync(scratch, { recursive: true });
process.exit(failures ? 1 : 0);

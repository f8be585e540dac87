// The import job against an independent reader: dcm2niix (Debian package). Same voxels, same geometry, on every series
// that neither side resamples.
//   KERF_BIN=build/bin KERF_TEST_TOOLS=build/tests [KERF_TEST_DATA=…] node tests/service/dcm2niix_compare.mjs
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareVolumes, readNifti } from './nifti.mjs';

const bin = process.env.KERF_BIN;
const tools = process.env.KERF_TEST_TOOLS ?? join(bin, '..', 'tests');
const data = process.env.KERF_TEST_DATA;
const job = join(bin, 'kerf-job');

if (!existsSync(job)) {
  console.log('skip dcm2niix_compare: kerf-job is not built');
  process.exit(77);
}
if (spawnSync('dcm2niix', ['-h']).error) {
  console.log('skip dcm2niix_compare: dcm2niix is not installed');
  process.exit(77);
}

const scratch = mkdtempSync(join(tmpdir(), 'kerf-compare.'));
const cases = [];
if (data) {
  cases.push(['head_ct', join(data, 'head_ct/dicom')], ['abdomen_j2k', join(data, 'abdomen_ct/dicom_j2k')],
    ['ct_3slice', join(data, 'dicom/seg/ct-3slice')], ['seg_23x38x3', join(data, 'dicom/seg/23x38x3/image')],
    ['seg_24x38x3', join(data, 'dicom/seg/24x38x3/image')],
    ['multiframe_24x38x3', join(data, 'dicom/seg/24x38x3/multiframe')]);
} else {
  console.log('skip real_series: KERF_TEST_DATA is not set');
}
for (const kind of ['explicit', 'implicit', 'big-endian', 'rle', 'jpeg-lossless', 'jpeg-ls', 'oblique', 'reversed',
  'sagittal', 'enhanced', 'mr', 'enhanced-mr']) {
  const folder = join(scratch, `in-${kind}`);
  mkdirSync(folder);
  execFileSync(join(tools, 'import_make'), [kind, folder]);
  cases.push([`made_${kind}`, folder]);
}

let failures = 0;
for (const [name, folder] of cases) {
  const ours = join(scratch, `${name}.nii`);
  const theirs = join(scratch, `${name}.d2n`);
  mkdirSync(theirs);
  try {
    execFileSync(job, ['import', '--quiet', '--in', folder, '--out', ours], { stdio: ['ignore', 'ignore', 'pipe'] });
    spawnSync('dcm2niix', ['-b', 'n', '-z', 'n', '-x', 'n', '-m', 'y', '-f', 'x', '-o', theirs, folder]);
    const files = readdirSync(theirs).filter((f) => /\.nii$/.test(f));
    if (files.length === 0) {
      console.log(`skip ${name}: this dcm2niix does not read it`);
      continue;
    }
    const r = compareVolumes(readNifti(ours), readNifti(join(theirs, files[0])));
    // dcm2niix keeps single precision: positions of a few hundred millimetres are good to 0.0001 mm.
    const good = r.voxels > 0 && r.different === 0 && r.farthestMm < 0.001;
    console.log(`${good ? 'pass' : 'FAIL'} ${name}: ${r.voxels} voxels, ${r.different} different (worst ${r.worst}), `
      + `corners within ${r.farthestMm.toFixed(6)} mm`);
    if (!good) failures++;
  } catch (error) {
    console.log(`FAIL ${name}: ${error.stderr ?? error.message}`);
    failures++;
  }
}
rmSync(scratch, { recursive: true });
process.exit(failures ? 1 : 0);

// Every image format beside ITK: what we write, ITK reads as the same voxels in the same place, and what ITK then writes,
// we read as the same again; of DICOM, what we write. On an oblique grid, where a transposed matrix shows. Needs peer_formats (ITK's packages).
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, readJson, withScratch } from '../accuracy/lib.mjs';

const peer = process.env.KERF_PEER_FORMATS ?? 'build/release/bin/peer_formats';
if (!existsSync(peer)) {
  console.log('skip formats: ITK is not installed, there is no peer_formats');
  process.exit(0);
}
const itk = (...args) => JSON.parse(execFileSync(peer, args, { encoding: 'utf8' }));
const ours = ['nrrd', 'mha', 'nii', 'nii.gz'];
const theirs = ['nii', 'nii.gz', 'nrrd', 'mha', 'mhd'];
let failed = 0;

// The greatest difference of two grids, mm (directions: per mm).
function apart(a, b) {
  let worst = JSON.stringify(a.dim) === JSON.stringify(b.dim) ? 0 : Infinity;
  for (const key of ['spacing_mm', 'origin_lps', 'direction']) {
    a[key].forEach((v, i) => { worst = Math.max(worst, Math.abs(v - b[key][i])); });
  }
  return worst;
}

function row(name, same, mm, most) {
  const good = same && mm <= most;
  if (!good) failed++;
  console.log(`${good ? 'pass' : 'FAIL'} ${name}: voxels ${same ? 'equal' : 'differ'}, place within ${mm.toExponential(1)} mm`);
}

await withScratch((dir) => {
  const at = (name) => join(dir, name);
  must('kerf', ['phantom', 'head', '--out', at('dicom'), '--size', '64x60x56', '--spacing', '2.75x2.9x3']);
  must('kerf-job', ['import', '--in', at('dicom'), '--out', at('ct.mha'), '--quiet']);
  const [x, y, z] = [0.3, 0.2, -0.4].map((a) => [Math.cos(a), Math.sin(a)]);
  const times = (a, b) => [0, 1, 2].map((r) => [0, 1, 2].map((c) => a[r][0] * b[0][c] + a[r][1] * b[1][c] + a[r][2] * b[2][c]));
  const turn = times(times([[1, 0, 0], [0, x[0], -x[1]], [0, x[1], x[0]]], [[y[0], 0, y[1]], [0, 1, 0], [-y[1], 0, y[0]]]), [[z[0], -z[1], 0], [z[1], z[0], 0], [0, 0, 1]]);
  const axes = [0, 1, 2].flatMap((c) => [0, 1, 2].map((r) => turn[r][c]));
  const bytes = readFileSync(at('ct.mha')).toString('latin1');
  writeFileSync(at('turned.mha'), Buffer.from(bytes.replace(/TransformMatrix = .*/, `TransformMatrix = ${axes.join(' ')}`), 'latin1'));
  const grid = (name) => {
    must('kerf-job', ['view', '--image', at(name), '--out', at('view'), '--quiet']);
    return { grid: readJson(at('view.json')).grid, packed: readFileSync(at('view')).toString('latin1') };
  };
  const truth = itk(at('turned.mha'));
  for (const ending of ours) {
    must('kerf-job', ['register', '--fixed', at('turned.mha'), '--moving', at('turned.mha'), '--samples', '1000', '--both_ways', 'false',
      '--out', at('t.json'), '--warped', at(`ours.${ending}`), '--quiet']);
    const mine = grid(`ours.${ending}`);
    const first = itk(at(`ours.${ending}`));
    const reference = ending === ours[0] ? first : itk(at(`ours.${ours[0]}`));
    row(`ITK reads our ${ending}`, first.voxels === reference.voxels, Math.max(apart(first, mine.grid), apart(first, truth)), 1e-4);
    for (const other of theirs) {
      itk(at(`ours.${ending}`), at(`itk.${other}`));
      const back = grid(`itk.${other}`);
      row(`we read ITK's ${other} of it`, back.packed === mine.packed, apart(back.grid, mine.grid), 1e-4);
    }
  }
  must('kerf-job', ['register', '--fixed', at('turned.mha'), '--moving', at('turned.mha'), '--samples', '1000', '--both_ways', 'false',
    '--out', at('t.json'), '--warped', `${at('slices')}/`, '--modality', 'CT', '--quiet']);
  const slices = itk(`${at('slices')}/`);
  row('ITK reads our DICOM', slices.voxels === itk(at(`ours.${ours[0]}`)).voxels, apart(slices, truth), 1e-4);
});
process.exit(failed ? 1 : 0);

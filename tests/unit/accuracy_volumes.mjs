// The tables' readers take a NIfTI file's numbers as its header means them.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { plainVolume } from '../accuracy/warps.mjs';
import { loadVolume, saveVolume } from '../accuracy/volumes.mjs';

const folder = mkdtempSync(join(tmpdir(), 'kerf-volumes.')), path = join(folder, 'v.nii');

function nifti1(type, stored, slope, inter) {
    const file = Buffer.alloc(352 + 2 * stored.length);
    file.writeInt32LE(348, 0);
    [3, stored.length, 1, 1].forEach((d, n) => file.writeInt16LE(d, 40 + 2 * n));
    file.writeInt16LE(type, 70);
    [1, 2, 3, 4].forEach((s, n) => file.writeFloatLE(s, 76 + 4 * n));
    file.writeFloatLE(352, 108);
    file.writeFloatLE(slope, 112);
    file.writeFloatLE(inter, 116);
    [0, 1, 2].forEach((r) => file.writeFloatLE(2 + r, 280 + 20 * r));
    stored.forEach((x, n) => (type === 512 ? file.writeUInt16LE(x, 352 + 2 * n) : file.writeInt16LE(x, 352 + 2 * n)));
    writeFileSync(path, file);
}

try {
    nifti1(4, [0, 1024, -5], 1, -1024);
    assert.deepEqual([...plainVolume(path).v], [-1024, 0, -1029]);
    assert.deepEqual([...loadVolume(path).v], [-1024, 0, -1029]);
    assert.deepEqual(plainVolume(path).spacing, [2, 3, 4]);
    nifti1(512, [0, 40000], 0.5, 3);
    assert.deepEqual([...plainVolume(path).v], [3, 20003]);
    nifti1(4, [7, -7], 0, 100); // a slope of 0: as stored
    assert.deepEqual([...plainVolume(path).v], [7, -7]);
    nifti1(4, [1], 0.5, 0);
    assert.throws(() => plainVolume(path), /no whole 16-bit number/);
    nifti1(512, [40000], 1, 0);
    assert.throws(() => plainVolume(path), /no whole 16-bit number/);
    nifti1(4, [32767], 1, 1);
    assert.throws(() => loadVolume(path), /no whole 16-bit number/);
    saveVolume(path, { dim: [3, 1, 1], type: 2, affine: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], v: Uint8Array.from([9, 0, 255]) });
    assert.deepEqual([...loadVolume(path).v], [9, 0, 255]);
    assert.equal(loadVolume(path).type, 2);
    console.log('pass volumes_are_read_as_their_headers_mean');
} finally {
    rmSync(folder, { recursive: true });
}

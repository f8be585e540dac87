// DICOM over HTTP on a whole Kerf: forms, zips, STOW-RS; what is not DICOM is refused file by file; nothing is lost and
// nothing is stored twice; what was stored comes out of the blob store byte for byte; and the case is really made.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kerf, bin, check, data, finish, sha256, skip, test, until } from '../lib/kerf.mjs';
import { Client, firstSignIn, nonconformities, signInFirst } from './api_client.mjs';

if (!data || !existsSync(join(data, 'head_ct', 'dicom'))) {
  skip('api_uploads', 'KERF_TEST_DATA is not set or has no head_ct');
  process.exit(0);
}
const head = join(data, 'head_ct', 'dicom');
const slices = readdirSync(head).sort().map((name) => join(head, name));

const form = (files) => {
  const body = new FormData();
  for (const [name, bytes] of files) body.append('file', new Blob([bytes]), name);
  return body;
};

function related(parts, { boundary = 'kerf-boundary', close = true } = {}) {
  const pieces = [];
  for (const bytes of parts) pieces.push(Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`), bytes, Buffer.from('\r\n'));
  if (close) pieces.push(Buffer.from(`--${boundary}--\r\n`));
  return { body: Buffer.concat(pieces), headers: { 'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}` } };
}

const reason = (answer) => answer.json['00081198']?.Value.map((item) => item['00081197'].Value[0]) ?? [];
const stored = (answer) => answer.json['00081199']?.Value.length ?? 0;

const kerf = await Kerf.start();
const scratch = mkdtempSync(join(tmpdir(), 'kerf-upload.'));
try {
  const first = firstSignIn(readFileSync(join(kerf.folder, 'sign-in'), 'utf8'));
  const admin = await signInFirst(new Client(kerf.url), first.login, first.password);
  const one = readFileSync(slices[0]);
  let caseId;

  await test('upload_form_of_good_and_bad_files', async () => {
    const answer = await admin.call('POST', '/api/v1/uploads', {
      body: form([['a.dcm', one], ['note.txt', Buffer.from('not DICOM at all')], ['cut.dcm', one.subarray(0, one.length - 1000)], ['empty', Buffer.alloc(0)], ['b.dcm', readFileSync(slices[1])]]),
      expect: 200,
    });
    caseId = answer.json.cases[0];
    const by = Object.fromEntries(answer.json.instances.map((i) => [i.file, i]));
    check(answer.json.accepted === 2 && answer.json.refused === 3, JSON.stringify(answer.json).slice(0, 900));
    check(by['a.dcm'].status === 'stored' && by['b.dcm'].status === 'stored', 'the good ones are stored');
    for (const name of ['note.txt', 'cut.dcm', 'empty']) check(by[name].status === 'refused' && by[name].reason && by[name].detail, `${name} is refused with a reason: ${JSON.stringify(by[name])}`);
    check(answer.json.instances.map((i) => i.file).join() === 'a.dcm,note.txt,cut.dcm,empty,b.dcm', 'in the order of arrival');
    check(answer.json.cases.length === 1, 'one case');
  });

  await test('upload_again_is_a_duplicate', async () => {
    const answer = await admin.call('POST', '/api/v1/uploads', { body: one, headers: { 'content-type': 'application/dicom' }, expect: 200 });
    check(answer.json.duplicate === 1 && answer.json.accepted === 0, JSON.stringify(answer.json));
  });

  await test('same_uid_other_bytes_is_kept_and_flagged', async () => {
    const changed = Buffer.from(one);
    changed[changed.length - 1] ^= 0xff;
    const answer = await admin.call('POST', '/api/v1/uploads', { body: changed, headers: { 'content-type': 'application/dicom' }, expect: 200 });
    check(answer.json.conflict === 1, JSON.stringify(answer.json));
  });

  await test('upload_zip_makes_the_case', async () => {
    const zip = join(scratch, 'head.zip');
    execFileSync('python3', ['-c', 'import sys,zipfile,os\nz=zipfile.ZipFile(sys.argv[1],"w",zipfile.ZIP_DEFLATED)\n[z.write(os.path.join(sys.argv[2],f),"study/"+f) for f in sorted(os.listdir(sys.argv[2]))]\nz.writestr("study/readme.txt","hello")\nz.writestr("../../evil.dcm","x")', zip, head]);
    const answer = await admin.call('POST', '/api/v1/uploads', { body: readFileSync(zip), headers: { 'content-type': 'application/zip' }, expect: 200 });
    check(answer.json.accepted + answer.json.duplicate === slices.length, JSON.stringify(answer.json).slice(0, 600));
    check(answer.json.refused >= 1, 'the readme is refused');
    check(answer.json.cases.includes(caseId) || answer.json.cases.length === 1, 'the same case');
    const settled = await kerf.settled(caseId);
    check(['ready', 'attention'].includes(settled.state), settled.state);
    check(settled.counts.instances >= slices.length, `${settled.counts.instances} instances`);
  });

  await test('what_was_stored_comes_back_byte_for_byte', async () => {
    const detail = (await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 })).json;
    const series = detail.studies.flatMap((s) => s.series)[0];
    const page = (await admin.get(`/api/v1/series/${series.id}/instances?limit=500`, { expect: 200 })).json;
    check(page.items.length === slices.length + 1, `${page.items.length} instances (one conflict)`);
    check(page.items.filter((i) => i.conflict).length === 2, 'both of the pair are flagged');
    for (const file of [slices[0], slices[40], slices.at(-1)]) {
      const bytes = readFileSync(file);
      const back = await admin.get(`/api/v1/cases/${caseId}/blobs/${sha256(bytes)}`, { expect: 200 });
      check(back.bytes.equals(bytes), `${file} differs`);
    }
  });

  await test('stow_all_some_none', async () => {
    const all = await admin.call('POST', '/dicom-web/studies', { ...related([readFileSync(slices[2]), readFileSync(slices[3])]), expect: 200 });
    check(stored(all) === 2 && !reason(all).length, JSON.stringify(all.json));
    const some = await admin.call('POST', '/dicom-web/studies', { ...related([readFileSync(slices[4]), Buffer.from('nonsense')]), expect: 202 });
    check(stored(some) === 1 && reason(some)[0] === 0xc000, JSON.stringify(some.json));
    const none = await admin.call('POST', '/dicom-web/studies/1.2.3.4.5', { ...related([readFileSync(slices[5])]), expect: 409 });
    check(reason(none)[0] === 0xa900, JSON.stringify(none.json));
  });

  await test('stow_refuses_what_it_cannot_take', async () => {
    await admin.call('POST', '/dicom-web/studies', { body: one, headers: { 'content-type': 'application/dicom' }, expect: 415 });
    await admin.call('POST', '/dicom-web/studies', { body: 'x', headers: { 'content-type': 'multipart/related; type="application/dicom+xml"; boundary=b' }, expect: 415 });
    await admin.call('POST', '/dicom-web/studies', { body: 'x', headers: { 'content-type': 'multipart/related; type="application/dicom"' }, expect: 400 });
    await admin.call('POST', '/dicom-web/studies/not-a-uid', { ...related([one]), expect: 400 });
    await admin.call('POST', '/dicom-web/studies', { ...related([one], { close: false }), expect: 400 });
    const { body, headers } = related([one]);
    await admin.call('POST', '/dicom-web/studies', { body, headers: { ...headers, accept: 'application/dicom+xml' }, expect: 406 });
    await admin.call('POST', '/api/v1/uploads', { body: form([]), expect: [400, 422] });
    await admin.call('POST', '/api/v1/uploads', { body: Buffer.alloc(0), headers: { 'content-type': 'application/zip' }, expect: 422 });
  });

  await test('truncated_zip_is_refused', async () => {
    const zip = readFileSync(join(scratch, 'head.zip'));
    const answer = await admin.call('POST', '/api/v1/uploads', { body: zip.subarray(0, zip.length >> 1), headers: { 'content-type': 'application/zip' }, expect: 200 });
    check(answer.json.refused >= 1 && answer.json.instances.some((i) => i.status === 'refused' && /zip|archive|truncated/.test(i.reason)), JSON.stringify(answer.json.instances.filter((i) => i.status === 'refused')).slice(0, 500));
  });

  await test('odd_files_never_break_the_server', async () => {
    const odd = join(data, 'dicom', 'odd_files');
    const files = readdirSync(odd).map((name) => join(odd, name)).filter((path) => statSync(path).isFile());
    const answer = await admin.call('POST', '/api/v1/uploads', { body: form(files.map((f) => [f.split('/').pop(), readFileSync(f)])), expect: 200 });
    check(answer.json.instances.length >= files.length, `${answer.json.instances.length} answers for ${files.length} files`);
    for (const i of answer.json.instances) check(i.status !== 'refused' || i.reason, `${i.file} has no reason`);
    await admin.get('/readyz', { expect: 200 });
  });

  await test('nothing_is_left_behind', async () => {
    const left = () => readdirSync(join(kerf.dataFolder, 'scratch')).filter((name) => name.startsWith('upload-'));
    await until('scratch is empty', 60000, () => left().length === 0);
  });

  for (const [name, settings, statuses, codes] of [
    ['fsync_fails', { KERF_FAULT_FSYNC: '1,1000000' }, [503], [0xa700, 0x0110]],
    ['disk_full', { KERF_FAULT_ENOSPC: '1000' }, [507], [0xa700]],
  ]) {
    await test(`upload_never_says_stored_when_${name}`, async () => {
      const broken = await Kerf.start({ settings });
      try {
        const client = new Client(broken.url, { token: broken.token('technician') });
        await client.call('POST', '/api/v1/uploads', { body: form([['a.dcm', one]]), expect: statuses });
        const stow = await client.call('POST', '/dicom-web/studies', { ...related([one]), expect: 409 });
        check(codes.includes(reason(stow)[0]), JSON.stringify(stow.json));
        check((await client.get('/api/v1/cases', { expect: 200 })).json.items.length === 0, 'no case was made');
      } finally {
        await broken.remove();
      }
    });
  }

  await test('a_commit_whose_answer_is_lost_loses_nothing', async () => {
    const clean = await Kerf.start();
    const server = clean.processes().find((p) => p.argv[0]?.endsWith('kerf-server'));
    const env = Object.fromEntries(readFileSync(`/proc/${server.pid}/environ`, 'utf8').split('\0').filter(Boolean).map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)]));
    // A second replica on the same database, which hears nothing of its first two commits.
    const ready = join(scratch, 'replica.json');
    const replica = spawn(join(bin, 'kerf-server'), ['--ready', ready], { env: { ...env, KERF_HTTP_PORT: '0', KERF_TLS_PORT: '0', KERF_SETTLE_S: '3600', KERF_FAULT_COMMIT: '1,2' }, stdio: 'ignore' });
    const gone = new Promise((resolve) => replica.on('exit', resolve));
    try {
      const { http } = await until('the replica', 60000, () => JSON.parse(readFileSync(ready, 'utf8')));
      const client = new Client(`http://127.0.0.1:${http}`, { token: clean.token('technician') });
      const answer = await client.call('POST', '/dicom-web/studies', { ...related(slices.slice(10, 17).map((f) => readFileSync(f))), expect: 200 });
      check(stored(answer) === 7, JSON.stringify(answer.json));
      for (const file of slices.slice(10, 17)) {
        const [kase] = await clean.all('/api/v1/cases');
        const back = await client.get(`/api/v1/cases/${kase.id}/blobs/${sha256(readFileSync(file))}`, { expect: 200 });
        check(back.bytes.equals(readFileSync(file)), 'byte for byte');
      }
      execFileSync(join(bin, 'kerf'), ['verify', '--data', clean.dataFolder], { stdio: 'pipe' });
    } finally {
      replica.kill('SIGKILL');
      await gone;
      await clean.remove();
    }
  });

  await test('uploads_conform', async () => check(nonconformities.length === 0, nonconformities.join('\n')));
} finally {
  rmSync(scratch, { recursive: true, force: true });
  await kerf.remove();
}
finish();

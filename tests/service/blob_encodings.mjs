// Meshes travel gzipped to those who take it: the same bytes either way, an entity tag for each form, ranges of the plain
// bytes only, and no encoding among the artefacts of a case.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Kerf, bin, check, finish, test } from '../lib/kerf.mjs';
import { Client, conformance, nonconformities } from './api_client.mjs';

const kerf = await Kerf.start();

// Without a library that decodes or adds headers: { status, headers, bytes }.
function plainly(path, headers = {}, method = 'GET') {
  const sent = { authorization: `Bearer ${kerf.adminToken}`, ...headers };
  return new Promise((resolve, reject) => {
    http.request(kerf.url + path, { method, headers: sent }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        nonconformities.push(...conformance.check({
          method, url: path, status: response.statusCode, requestHeaders: sent, requestBody: null,
          responseHeaders: response.headers, responseBody: parts.length ? '(bytes)' : null,
        }));
        resolve({ status: response.statusCode, headers: response.headers, bytes: Buffer.concat(parts) });
      });
    }).on('error', reject).end();
  });
}
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

try {
  kerf.adminToken = kerf.token();
  const client = new Client(kerf.url, { token: kerf.adminToken });
  const study = join(kerf.folder, 'study');
  execFileSync(join(bin, 'kerf'), ['phantom', 'head', '--size', '64x64x64', '--spacing', '3x3x3', '--out', study]);
  const body = new FormData();
  for (const name of readdirSync(study).sort()) body.append('file', new Blob([readFileSync(join(study, name))]), name);
  const caseId = (await client.call('POST', '/api/v1/uploads', { body, expect: 200 })).json.cases[0];
  await kerf.settled(caseId);
  const base = `/api/v1/cases/${caseId}`;
  const meshes = (await client.get(`${base}/meshes`, { expect: 200 })).json.items.filter((a) => a.kind === 'mesh');

  await test('every_mesh_has_an_encoding_and_no_list_shows_it', async () => {
    check(meshes.length >= 2, `${meshes.length} meshes`);
    const encodings = (await client.get(`${base}/artefacts?kind=encoding.gzip`, { expect: 200 })).json.items;
    check(encodings.map((a) => a.meta.of).sort().join() === meshes.map((a) => a.name).sort().join(), encodings.map((a) => a.name).join());
    check(encodings.every((a) => a.name === `${a.meta.of}.gz` && a.media_type === 'application/gzip'), 'name and media type');
    const listed = (await client.get(`${base}/artefacts?superseded=true`, { expect: 200 })).json.items;
    check(listed.length > meshes.length && !listed.some((a) => a.kind.startsWith('encoding.')), listed.map((a) => a.kind).join());
    const { counts } = (await client.get(base, { expect: 200 })).json;
    check(counts.meshes === meshes.length, JSON.stringify(counts));
  });

  for (const mesh of meshes) {
    const type = mesh.name.slice(-3);
    const plain = await plainly(mesh.url);
    // Twice: the second answer comes from what the server remembers.
    for (const again of ['', '_again']) {
      await test(`${type}_is_the_same_either_way${again}`, async () => {
        check(plain.status === 200 && sha256(plain.bytes) === mesh.sha256 && plain.bytes.length === mesh.bytes, 'the plain bytes');
        check(plain.headers.etag === `"${mesh.sha256}"` && !plain.headers['content-encoding'], JSON.stringify(plain.headers));
        check(plain.headers.vary === 'Accept-Encoding' && plain.headers['accept-ranges'] === 'bytes', JSON.stringify(plain.headers));
        const packed = await plainly(mesh.url, { 'accept-encoding': 'br;q=1.0, gzip;q=0.8, *;q=0.1' });
        check(packed.status === 200 && packed.headers['content-encoding'] === 'gzip', JSON.stringify(packed.headers));
        check(packed.bytes.length < plain.bytes.length && gunzipSync(packed.bytes).equals(plain.bytes), 'the gzipped bytes');
        check(packed.headers.etag === `"${mesh.sha256}-gzip"` && packed.headers.vary === 'Accept-Encoding', JSON.stringify(packed.headers));
        check(packed.headers['content-type'] === mesh.media_type && packed.headers['cache-control'] === plain.headers['cache-control'], JSON.stringify(packed.headers));
        check(Number(packed.headers['content-length']) === packed.bytes.length && !packed.headers['accept-ranges'], JSON.stringify(packed.headers));
        check((await client.get(mesh.url)).bytes.equals(plain.bytes), 'what a client that decodes sees');
        const refused = await plainly(mesh.url, { 'accept-encoding': 'gzip;q=0, identity' });
        check(!refused.headers['content-encoding'] && refused.bytes.equals(plain.bytes), 'gzip;q=0');
        const head = await plainly(mesh.url, { 'accept-encoding': 'gzip' }, 'HEAD');
        check(head.bytes.length === 0 && Number(head.headers['content-length']) === packed.bytes.length, JSON.stringify(head.headers));
      });
    }

    await test(`${type}_ranges_are_of_the_plain_bytes`, async () => {
      const part = await plainly(mesh.url, { 'accept-encoding': 'gzip', range: 'bytes=10-29' });
      check(part.status === 206 && part.bytes.equals(plain.bytes.subarray(10, 30)), `${part.status}`);
      check(part.headers['content-range'] === `bytes 10-29/${mesh.bytes}` && !part.headers['content-encoding'], JSON.stringify(part.headers));
      check(part.headers.etag === `"${mesh.sha256}"` && part.headers.vary === 'Accept-Encoding', JSON.stringify(part.headers));
      // A part cannot complete a gzipped beginning: the whole comes instead.
      const other = await plainly(mesh.url, { 'accept-encoding': 'gzip', range: 'bytes=10-29', 'if-range': `"${mesh.sha256}-gzip"` });
      check(other.status === 200 && other.bytes.equals(plain.bytes), `${other.status}`);
    });

    await test(`${type}_is_not_sent_again`, async () => {
      for (const etag of [`"${mesh.sha256}"`, `"${mesh.sha256}-gzip"`, `"x", W/"${mesh.sha256}-gzip"`]) {
        const answer = await plainly(mesh.url, { 'accept-encoding': 'gzip', 'if-none-match': etag });
        check(answer.status === 304 && etag.includes(answer.headers.etag), `${etag}: ${answer.status} ${answer.headers.etag}`);
        check(answer.bytes.length === 0 && answer.headers.vary === 'Accept-Encoding', JSON.stringify(answer.headers));
      }
      const same = await plainly(mesh.url, { 'if-none-match': `"${mesh.sha256}"` });
      check(same.status === 304 && same.headers.etag === `"${mesh.sha256}"`, `${same.status}`);
      // Who takes no gzip cannot use the gzipped form that it names.
      const unusable = await plainly(mesh.url, { 'if-none-match': `"${mesh.sha256}-gzip"` });
      check(unusable.status === 200 && unusable.bytes.equals(plain.bytes), `${unusable.status}`);
      const else_ = await plainly(mesh.url, { 'accept-encoding': 'gzip', 'if-none-match': '"something else"' });
      check(else_.status === 200 && else_.headers['content-encoding'] === 'gzip', `${else_.status}`);
    });
  }

  await test('what_has_no_encoding_goes_out_as_it_is', async () => {
    const view = (await client.get(`${base}/meshes`, { expect: 200 })).json.items.find((a) => a.kind === 'mesh.view');
    const answer = await plainly(view.url, { 'accept-encoding': 'gzip' });
    check(answer.status === 200 && sha256(answer.bytes) === view.sha256, `${answer.status}`);
    check(!answer.headers['content-encoding'] && !answer.headers.vary && answer.headers.etag === `"${view.sha256}"`, JSON.stringify(answer.headers));
  });

  await test('an_encoding_is_a_blob_of_its_own_too', async () => {
    const encoding = (await client.get(`${base}/artefacts?kind=encoding.gzip`, { expect: 200 })).json.items[0];
    const answer = await plainly(encoding.url, { 'accept-encoding': 'gzip' });
    check(answer.status === 200 && sha256(answer.bytes) === encoding.sha256, `${answer.status}`);
    check(answer.headers['content-type'] === 'application/gzip' && !answer.headers['content-encoding'], JSON.stringify(answer.headers));
  });

  await test('encodings_conform_to_the_interface', async () => check(nonconformities.length === 0, nonconformities.join('\n')));
} finally {
  await kerf.remove();
}
finish();

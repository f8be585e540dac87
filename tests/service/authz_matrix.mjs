// Every operation of openapi.yaml, for every role, for nobody, for a token, and for the administrator of another
// organisation: allowed or refused as x-kerf-permission and the table below say. An operation that the matrix does not
// know how to ask fails the test, so nobody adds a route without saying who may use it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kerf, check, finish, test } from '../lib/kerf.mjs';
import { Client, conformance, firstSignIn, nonconformities, phrase, signInFirst } from './api_client.mjs';

// Written out a second time on purpose: a slip in server/domain/authz.h must not pass unseen.
const may = {
  public: ['nobody', 'admin', 'technician', 'planner', 'surgeon', 'viewer'],
  'session.self': ['admin', 'technician', 'planner', 'surgeon', 'viewer'],
  'case.read': ['admin', 'technician', 'planner', 'surgeon', 'viewer'],
  'case.write': ['admin', 'technician', 'planner'],
  'dicom.store': ['admin', 'technician', 'planner'],
  'job.read': ['admin', 'technician', 'planner', 'surgeon', 'viewer'],
  'job.run': ['admin', 'technician', 'planner'],
  'job.retry': ['admin', 'technician'],
  'job.review': ['admin'],
  'level.state': ['admin', 'planner', 'surgeon'],
  'account.manage': ['admin'],
  'token.manage': ['admin'],
  'peer.manage': ['admin', 'technician'],
  'metrics.read': ['nobody', 'admin', 'technician', 'planner', 'surgeon', 'viewer'], // this machine itself needs no sign-in
};

const none = '0195c2a0-7b1e-7c3a-9a44-0c2f6b0d9e11';
const hash = '0'.repeat(64);
// What to send, and the status that an allowed caller gets: the objects do not exist, so mostly 404; a body that is refused
// as 4xx proves just as well that the door was open.
const asks = {
  session_create: { json: { login: 'matrix.nobody', password: 'wrong' }, open: [401, 429] },
  session_read: { open: [200] },
  session_delete: { skip: 'ends the session that the matrix uses; api_flows does it' },
  password_change: { json: { current_password: phrase, new_password: 'short' }, open: [422] },
  account_list: { open: [200] },
  account_create: { json: { login: 'X', display_name: 'x', role: 'viewer' }, open: [400] },
  account_read: { open: [404] },
  account_change: { json: { disabled: true }, headers: { 'if-match': '*' }, open: [404] },
  account_reset_password: { open: [404] },
  token_list: { open: [200] },
  token_create: { json: { name: 'x', role: 'nobody' }, open: [400] },
  token_revoke: { open: [404] },
  peer_list: { open: [200] },
  peer_create: { json: { name: 'x' }, open: [400] },
  peer_delete: { open: [404] },
  case_list: { open: [200] },
  case_search: { json: { q: 'miller', limit: 5 }, open: [200] },
  case_read: { open: [404] },
  case_change: { json: { title: 'x' }, headers: { 'if-match': '*' }, open: [404] },
  case_studies: { open: [404] },
  study_read: { open: [404] },
  study_series: { open: [404] },
  series_read: { open: [404] },
  series_instances: { open: [404] },
  case_artefacts: { open: [404] },
  case_volumes: { open: [404] },
  case_segmentations: { open: [404] },
  case_meshes: { open: [404] },
  volume_read: { open: [404] },
  artefact_read: { open: [404] },
  blob_read: { open: [404] },
  case_jobs: { open: [404] },
  job_create: { json: { kind: 'mesh', inputs: [none] }, open: [404] },
  job_kinds: { open: [200] },
  job_list: { open: [200] },
  job_read: { open: [404] },
  job_cancel: { open: [404] },
  job_retry: { open: [404] },
  job_acknowledge: { open: [404] },
  level_list: { open: [404] },
  level_state: { json: { artefact_id: none, levels: { 1: 'L1' } }, open: [404] },
  event_stream: { query: `?case=${none}`, open: [404] },
  upload_create: { body: 'x', headers: { 'content-type': 'text/plain' }, open: [415] },
  stow_any: { body: 'x', headers: { 'content-type': 'text/plain' }, open: [415] },
  stow_study: { body: 'x', headers: { 'content-type': 'text/plain' }, open: [415] },
  settings_read: { open: [200] },
  settings_public: { open: [200] },
  openapi_read: { open: [200] },
  healthz: { open: [200] },
  readyz: { open: [200] },
  metrics: { open: [200] },
};

const kerf = await Kerf.start({ settings: { KERF_LOGIN_PER_MINUTE: '1000' } });
try {
  const first = firstSignIn(readFileSync(join(kerf.folder, 'sign-in'), 'utf8'));
  const admin = await signInFirst(new Client(kerf.url), first.login, first.password);
  const clients = { nobody: new Client(kerf.url), admin };
  const tokens = {};
  for (const role of ['technician', 'planner', 'surgeon', 'viewer']) {
    const made = await admin.call('POST', '/api/v1/accounts', { json: { login: `matrix.${role}`, display_name: role, role }, expect: 201 });
    clients[role] = await signInFirst(new Client(kerf.url), made.json.login, made.json.one_time_password);
  }
  for (const role of ['admin', 'technician', 'planner', 'surgeon', 'viewer']) {
    const made = await admin.call('POST', '/api/v1/tokens', { json: { name: `matrix ${role}`, role }, expect: 201 });
    tokens[role] = new Client(kerf.url, { token: made.json.token });
  }

  for (const entry of conformance.operations) {
    await test(`authz_${entry.id}`, async () => {
      const ask = asks[entry.id];
      check(ask, 'the matrix does not know this operation: say in asks how to ask it');
      const allowed = may[entry.operation['x-kerf-permission']];
      check(allowed, `nobody said who holds ${entry.operation['x-kerf-permission']}`);
      if (ask.skip) return;
      const path = entry.path.replace('{sha256}', hash).replace('{study_uid}', '1.2.3').replace(/\{[a-z_]+\}/g, none) + (ask.query ?? '');
      const send = (client, headers = {}) => client.call(entry.method.toUpperCase(), path, { json: ask.json, body: ask.body, headers: { ...ask.headers, ...headers } });
      for (const [role, client] of Object.entries(clients)) {
        const { status } = await send(client);
        if (allowed.includes(role)) check(ask.open.includes(status), `${role}: ${status}, expected ${ask.open}`);
        else check(status === (role === 'nobody' ? 401 : 403), `${role}: ${status}, expected to be refused`);
      }
      for (const [role, client] of Object.entries(tokens)) {
        if (entry.tags?.includes('session') || entry.path.startsWith('/api/v1/session')) continue; // tokens have no session
        const { status } = await send(client);
        if (allowed.includes(role)) check(ask.open.includes(status), `token ${role}: ${status}, expected ${ask.open}`);
        else check(status === 403, `token ${role}: ${status}, expected 403`);
      }
      // Without its CSRF token a cookie may look and not touch.
      if (entry.method !== 'get' && !allowed.includes('nobody')) {
        const forged = new Client(kerf.url);
        forged.cookie = admin.cookie;
        const { status, json } = await send(forged);
        check(status === 403 && json.code === 'csrf', `without CSRF token: ${status} ${json?.code}`);
      }
    });
  }
  await test('authz_every_ask_is_an_operation', async () => {
    for (const id of Object.keys(asks)) check(conformance.operations.some((o) => o.id === id), `${id} is no operation`);
  });
  await test('authz_exchanges_conform', async () => check(nonconformities.length === 0, nonconformities.join('\n')));
} finally {
  await kerf.remove();
}
finish();

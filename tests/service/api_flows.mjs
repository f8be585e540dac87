// A day with the API on a whole Kerf: first sign-in, accounts, live events that resume, reads that are never older than
// the event that announced them, blobs with ranges, jobs and their failures, signing out everywhere.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Kerf, check, data, finish, skip, test, until } from '../lib/kerf.mjs';
import { Client, conformance, firstSignIn, nonconformities, phrase, signInFirst } from './api_client.mjs';

const kerf = await Kerf.start({ settings: { KERF_LOGIN_PER_MINUTE: '1000' } });
try {
  const first = firstSignIn(readFileSync(join(kerf.folder, 'sign-in'), 'utf8'));
  const admin = new Client(kerf.url);

  await test('first_sign_in_must_change_its_password', async () => {
    const session = await admin.signIn(first.login, first.password);
    check(session.status === 200 && session.json.account.must_change_password, session.text);
    check(session.headers.get('set-cookie').includes('HttpOnly'), 'HttpOnly');
    const refused = await admin.get('/api/v1/cases', { expect: 403 });
    check(refused.json.code === 'password_change_required', refused.text);
    await admin.call('PUT', '/api/v1/session/password', { json: { current_password: first.password, new_password: phrase }, expect: 204 });
    await admin.get('/api/v1/cases', { expect: 200 });
  });

  await test('security_headers_are_on', async () => {
    const { headers } = await admin.get('/api/v1/cases', { expect: 200 });
    check(headers.get('cache-control') === 'no-store', `patient data must not be kept: ${headers.get('cache-control')}`);
    check(headers.get('x-content-type-options') === 'nosniff', 'nosniff');
    check(headers.get('content-security-policy')?.includes("default-src 'none'"), 'CSP');
    check(!headers.get('server')?.includes('/'), 'no version in Server');
  });

  await test('a_search_is_neither_kept_nor_logged', async () => {
    const name = 'Geheimrat-Quax';
    const found = await admin.call('POST', '/api/v1/cases/search', { json: { q: name, state: 'ready', limit: 1 }, expect: 200 });
    check(found.headers.get('cache-control') === 'no-store', `patient data must not be kept: ${found.headers.get('cache-control')}`);
    check(found.json.items.length === 0 && found.json.next === null, found.text);
    const refused = await admin.get(`/api/v1/cases?q=${name}`, { expect: 400 });
    check(refused.json.code === 'invalid_query' && !refused.text.includes(name), refused.text);
    await admin.call('POST', '/api/v1/cases/search', { json: { q: name, limit: 0 }, expect: 400 });
    check(!kerf.log.includes(name), 'the search stands in the log');
  });

  await test('searches_that_are_none_are_refused', async () => {
    const search = (json, expect) => admin.call('POST', '/api/v1/cases/search', { json, expect });
    const words = (count) => Array.from({ length: count }, (_, i) => `w${i}`).join(' ');
    for (const good of [{}, { q: '' }, { q: words(12) }, { q: '骨'.repeat(200) }, { state: 'attention', limit: 500 }]) await search(good, 200);
    const bad = {
      '/q': [{ q: 5 }, { q: null }, { q: words(13) }, { q: 'x'.repeat(201) }, { q: '骨'.repeat(201) }, { q: '骨'.repeat(300) }],
      '/state': [{ state: '' }, { state: null }, { state: 'lost' }],
      '/limit': [{ limit: 0 }, { limit: 501 }, { limit: '5' }, { limit: 1.5 }],
      '/cursor': [{ cursor: '' }, { cursor: null }, { cursor: '1'.repeat(401) }],
      '/name': [{ name: 'miller' }],
    };
    for (const [pointer, bodies] of Object.entries(bad)) {
      for (const body of bodies) {
        const { json, text } = await search(body, 400);
        check(json.code === 'invalid_body' && json.errors.map((e) => e.pointer).join() === pointer, `${JSON.stringify(body)}: ${text}`);
      }
    }
    await search([], 400);
    await search('', 400);
    await search({ q: ' '.repeat(9000) }, 413);
    await admin.call('POST', '/api/v1/cases/search', { body: 'q=miller', headers: { 'content-type': 'application/x-www-form-urlencoded' }, expect: 415 });
  });

  await test('signing_out_ends_this_session_and_no_other', async () => {
    const here = new Client(kerf.url);
    const there = new Client(kerf.url);
    await here.signIn(first.login, phrase);
    await there.signIn(first.login, phrase);
    await here.get('/api/v1/session', { expect: 200 });
    await here.call('DELETE', '/api/v1/session', { expect: 204 });
    await here.get('/api/v1/session', { expect: 401 });
    await there.get('/api/v1/session', { expect: 200 });
  });

  await test('disabling_and_resetting_end_sessions', async () => {
    const made = await admin.call('POST', '/api/v1/accounts', { json: { login: 'flow.one', display_name: 'Zoë 骨', role: 'planner' }, expect: 201 });
    const person = await signInFirst(new Client(kerf.url), 'flow.one', made.json.one_time_password);
    await person.get('/api/v1/cases', { expect: 200 });
    const reset = await admin.call('POST', `/api/v1/accounts/${made.json.id}/password-reset`, { expect: 200 });
    await person.get('/api/v1/cases', { expect: 401 });
    check((await person.signIn('flow.one', phrase)).status === 401, 'the old password is gone');
    await signInFirst(person, 'flow.one', reset.json.one_time_password, `${phrase} two`);
    const seen = await admin.get(`/api/v1/accounts/${made.json.id}`, { expect: 200 });
    const changed = await admin.call('PATCH', `/api/v1/accounts/${made.json.id}`, { json: { disabled: true }, headers: { 'if-match': seen.headers.get('etag') }, expect: 200 });
    check(changed.json.disabled && changed.json.revision > seen.json.revision, changed.text);
    await person.get('/api/v1/cases', { expect: 401 });
    check((await person.signIn('flow.one', `${phrase} two`)).json.code === 'invalid_credentials', 'a disabled account says nothing of itself');
  });

  await test('lists_page_without_gap_or_repetition', async () => {
    for (let i = 0; i < 7; i++) await admin.call('POST', '/api/v1/accounts', { json: { login: `page.${i}`, display_name: `p${i}`, role: 'viewer' }, expect: 201 });
    const all = (await admin.get('/api/v1/accounts?limit=500', { expect: 200 })).json.items.map((a) => a.login);
    const paged = [];
    let cursor = '';
    do {
      const page = (await admin.get(`/api/v1/accounts?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { expect: 200 })).json;
      paged.push(...page.items.map((a) => a.login));
      cursor = page.next ?? '';
    } while (cursor);
    check(paged.join() === all.join(), `${paged} against ${all}`);
  });

  await test('what_is_not_there_and_what_is_not_meant', async () => {
    await admin.get('/api/v1/nothing', { expect: 404 });
    await admin.call('DELETE', '/api/v1/cases', { expect: 405 });
    await admin.call('PUT', '/api/v1/session', { expect: 405 });
    await admin.call('POST', '/api/v1/peers', { body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' }, expect: 415 });
    await admin.call('POST', '/api/v1/peers', { json: '{"name":', expect: 400 });
    await admin.call('POST', '/api/v1/peers', { json: `${'['.repeat(100)}${']'.repeat(100)}`, expect: 400 });
    const faults = await admin.call('POST', '/api/v1/peers', { json: { name: 5, ae_title: '', colour: 'red' }, expect: 400 });
    const pointers = faults.json.errors.map((e) => e.pointer).sort();
    check(pointers.join() === '/ae_title,/colour,/name', pointers.join());
  });

  const head = data && join(data, 'head_ct', 'dicom');
  if (!head || !existsSync(head)) {
    skip('api_flows_with_data', 'KERF_TEST_DATA is not set or has no head_ct');
  } else {
    let caseId;
    await test('live_events_tell_the_story_and_resume', async () => {
      const story = admin.events('/api/v1/events', (e) => e.kind === 'artefact.made' && e.data.kind === 'mesh.view', 300000);
      await story.opened;
      const body = new FormData();
      for (const name of readdirSync(head).sort()) body.append('file', new Blob([readFileSync(join(head, name))]), name);
      const uploaded = await admin.call('POST', '/api/v1/uploads', { body, expect: 200 });
      caseId = uploaded.json.cases[0];
      const events = await story;
      const kinds = new Set(events.map((e) => e.kind));
      for (const kind of ['case.created', 'case.changed', 'instance.received', 'job.changed', 'artefact.made']) check(kinds.has(kind), `no ${kind} among ${[...kinds]}`);
      check(events.every((e) => /^\d+$/.test(e.id) && e.data.case_id === caseId), 'ids and case');
      const text = JSON.stringify(events);
      const detail = (await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 })).json;
      if (detail.patient.name) check(!text.includes(detail.patient.name), 'no patient data in events');
      // A resumed stream repeats what came behind the id, and the last one again.
      const middle = events[Math.floor(events.length / 2)];
      const last = events.at(-1);
      const again = await admin.events('/api/v1/events', (e) => e.id === last.id, 60000, { 'last-event-id': middle.id });
      check(again.at(-1)?.id === last.id, 'the resumed stream reaches the last event');
      const missed = events.slice(events.indexOf(middle) + 1).filter((e) => !again.some((a) => a.id === e.id));
      check(missed.length === 0, `${missed.length} events are missing`);
      await kerf.settled(caseId);
    });

    await test('a_read_after_an_event_is_not_older_than_the_event', async () => {
      for (let round = 0; round < 8; round++) {
        const before = await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 }); // now it is kept
        const told = admin.events(`/api/v1/events?case=${caseId}`, (e) => e.kind === 'case.changed');
        await told.opened;
        const title = `round ${round}`;
        await admin.call('PATCH', `/api/v1/cases/${caseId}`, { json: { title }, headers: { 'if-match': before.headers.get('etag') }, expect: 200 });
        check((await told).length > 0, 'the event came');
        const after = await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 });
        check(after.json.title === title, `${after.json.title} is older than ${title}`);
      }
    });

    await test('two_editors_do_not_overwrite_each_other', async () => {
      const seen = await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 });
      const etag = seen.headers.get('etag');
      await admin.call('PATCH', `/api/v1/cases/${caseId}`, { json: { title: 'first' }, headers: { 'if-match': etag }, expect: 200 });
      await admin.call('PATCH', `/api/v1/cases/${caseId}`, { json: { title: 'second' }, headers: { 'if-match': etag }, expect: 412 });
      await admin.call('PATCH', `/api/v1/cases/${caseId}`, { json: { title: 'third' }, expect: 428 });
    });

    await test('archiving_and_taking_back', async () => {
      await admin.call('PATCH', `/api/v1/cases/${caseId}`, { json: { state: 'archived' }, headers: { 'if-match': '*' }, expect: 200 });
      check((await admin.get('/api/v1/cases?state=archived', { expect: 200 })).json.items.some((c) => c.id === caseId), 'listed as archived');
      const number = (await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 })).json.number;
      const search = async (state) => (await admin.call('POST', '/api/v1/cases/search', { json: { q: `#${number}`, state }, expect: 200 })).json.items;
      check((await search('archived')).some((c) => c.id === caseId), 'found as archived');
      check(!(await search('ready')).some((c) => c.id === caseId), 'not found as ready');
      await admin.call('PATCH', `/api/v1/cases/${caseId}`, { json: { state: 'ready' }, headers: { 'if-match': '*' }, expect: 200 });
    });

    await test('blobs_come_whole_in_parts_and_not_twice', async () => {
      const mesh = (await admin.get(`/api/v1/cases/${caseId}/meshes`, { expect: 200 })).json.items.find((a) => a.kind === 'mesh.view');
      const whole = await admin.get(mesh.url, { expect: 200 });
      check(whole.bytes.length === mesh.bytes && whole.headers.get('etag') === `"${mesh.sha256}"`, 'length and ETag');
      check(whole.headers.get('content-type').startsWith('model/gltf-binary'), whole.headers.get('content-type'));
      const part = await admin.get(mesh.url, { headers: { range: 'bytes=10-19' }, expect: 206 });
      check(part.bytes.equals(whole.bytes.subarray(10, 20)), 'the range');
      check(part.headers.get('content-range') === `bytes 10-19/${mesh.bytes}`, part.headers.get('content-range'));
      const tail = await admin.get(mesh.url, { headers: { range: 'bytes=-5' }, expect: 206 });
      check(tail.bytes.equals(whole.bytes.subarray(-5)), 'the last five');
      await admin.get(mesh.url, { headers: { range: `bytes=${mesh.bytes}-` }, expect: 416 });
      await admin.get(mesh.url, { headers: { 'if-none-match': `"${mesh.sha256}"` }, expect: 304 });
      const headOnly = await admin.call('HEAD', mesh.url, { expect: 200 });
      check(headOnly.bytes.length === 0 && Number(headOnly.headers.get('content-length')) === mesh.bytes, 'HEAD');
    });

    await test('a_job_that_fails_says_why_and_can_be_retried', async () => {
      const volume = (await admin.get(`/api/v1/cases/${caseId}/volumes`, { expect: 200 })).json.items.find((a) => a.kind === 'volume');
      const ask = { kind: 'segment.bone', params: { least_ml: 1000, threshold_hu: 900 }, inputs: [volume.id] };
      const headers = { 'idempotency-key': 'flow-1' };
      const one = await admin.call('POST', `/api/v1/cases/${caseId}/jobs`, { json: ask, headers, expect: 202 });
      const two = await admin.call('POST', `/api/v1/cases/${caseId}/jobs`, { json: ask, headers, expect: 202 });
      check(one.json.id === two.json.id && two.headers.get('idempotent-replayed') === 'true', 'the same answer');
      const ended = await until('the job fails', 120000, async () => {
        const job = (await admin.get(`/api/v1/jobs/${one.json.id}`, { expect: 200 })).json;
        return ['failed', 'dead'].includes(job.state) && job;
      });
      check(ended.error?.code && ended.error.detail, JSON.stringify(ended));
      check((await admin.get(`/api/v1/jobs?state=${ended.state}`, { expect: 200 })).json.items.some((j) => j.id === ended.id), 'listed');
      await admin.call('POST', `/api/v1/jobs/${ended.id}/cancel`, { expect: 409 });
      const caseState = (state) => until(`the case to be ${state}`, 120000, async () =>
        (await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 })).json.state === state);
      await caseState('attention');
      const failures = async () => (await admin.get(`/api/v1/cases/${caseId}`, { expect: 200 })).json.progress.failed;
      const before = await failures();
      const done = (await admin.get('/api/v1/jobs?state=done', { expect: 200 })).json.items[0];
      const fine = await admin.call('POST', `/api/v1/jobs/${done.id}/acknowledge`, { expect: 409 });
      check(fine.json.code === 'job_not_failed', JSON.stringify(fine.json));
      const seen = await admin.call('POST', `/api/v1/jobs/${ended.id}/acknowledge`, { expect: 200 });
      check(seen.json.state === ended.state && Date.parse(seen.json.acknowledged_at) >= Date.parse(ended.finished_at), JSON.stringify(seen.json));
      await caseState('ready');
      check((await failures()) === before - 1, 'what was acknowledged counts no more');
      const again = await admin.call('POST', `/api/v1/jobs/${ended.id}/retry`, { expect: 202 });
      check(again.json.acknowledged_at === null, 'a retry counts anew');
      await caseState('attention');
    });

    await test('a_job_is_asked_for_by_its_own_table', async () => {
      const { kinds, presets } = (await admin.get('/api/v1/job-kinds', { expect: 200 })).json;
      const bone = kinds.find((k) => k.name === 'segment.bone');
      check(bone.inputs[0].artefact === 'volume' && bone.params.some((p) => p.name === 'threshold_hu' && p.unit === 'HU' && p.maximum > p.minimum), JSON.stringify(bone));
      check(!kinds.some((k) => k.name === 'import') && presets.some((p) => p.id === 'jaw'), 'what people may ask for');
      const volume = (await admin.get(`/api/v1/cases/${caseId}/volumes`, { expect: 200 })).json.items.find((a) => a.kind === 'volume');
      const ask = (json, expect) => admin.call('POST', `/api/v1/cases/${caseId}/jobs`, { json, expect });
      const bad = [
        [{ kind: 'segment.bone', params: { threshold_hu: 9999 }, inputs: [volume.id] }, 'bad_parameter'],
        [{ kind: 'segment.bone', params: { no_such: 1 }, inputs: [volume.id] }, 'bad_parameter'],
        [{ kind: 'register', inputs: [volume.id] }, 'input_count'],
        [{ kind: 'register', inputs: [volume.id, volume.id], roles: ['fixed', 'sideways'] }, 'wrong_input'],
        [{ kind: 'mesh', inputs: [volume.id] }, 'wrong_input'],
        [{ kind: 'import', inputs: [volume.id] }, 'unknown_kind'],
      ];
      for (const [json, code] of bad) check((await ask(json, 422)).json.code === code, `${JSON.stringify(json)} is not ${code}`);
      await ask({ kind: 'register', inputs: [volume.id, volume.id], roles: ['fixed'] }, 400);
    });

    await test('two_scans_are_aligned_and_the_result_can_be_looked_at', async () => {
      const volume = (await admin.get(`/api/v1/cases/${caseId}/volumes`, { expect: 200 })).json.items.find((a) => a.kind === 'volume');
      const json = { kind: 'register', params: { finest_mm: 4, samples: 4000 }, inputs: [volume.id, volume.id], roles: ['fixed', 'moving'] };
      const job = (await admin.call('POST', `/api/v1/cases/${caseId}/jobs`, { json, expect: 202 })).json;
      const warped = await until('the warped scan', 300000, async () => {
        const state = (await admin.get(`/api/v1/jobs/${job.id}`, { expect: 200 })).json;
        check(!['failed', 'dead'].includes(state.state), JSON.stringify(state.error));
        return (await admin.get(`/api/v1/cases/${caseId}/volumes`, { expect: 200 })).json.items.find((a) => a.kind === 'volume' && a.job_id === job.id);
      });
      check(warped.made_from.length === 2 && warped.made_from.every((m, i) => m.sha256 === volume.sha256 && m.name === ['fixed', 'moving'][i]) && warped.meta.of === 'moving', JSON.stringify(warped));
      const { inputs } = (await admin.get(`/api/v1/jobs/${job.id}`, { expect: 200 })).json;
      check(inputs.map((i) => i.role).join() === 'fixed,moving' && inputs.every((i) => i.artefact_id === volume.id && i.kind === 'volume'
        && i.series_id === volume.series_id && i.modality === 'CT' && `${i.dim}` === `${volume.meta.grid.dim}`), JSON.stringify(inputs));
      check(warped.meta.modality === 'CT' && warped.meta.frame_of_reference_uid === volume.meta.frame_of_reference_uid, 'it lies in the fixed frame');
      await until('its view', 120000, async () => (await admin.get(`/api/v1/cases/${caseId}/volumes`, { expect: 200 })).json.items
        .some((a) => a.kind === 'volume.view' && a.made_from.some((m) => m.sha256 === warped.sha256)));
    });

    await test('a_deformation_is_kept_with_its_inverse_and_how_to_use_it', async () => {
      const volume = (await admin.get(`/api/v1/cases/${caseId}/volumes`, { expect: 200 })).json.items.find((a) => a.kind === 'volume');
      const params = { model: 'deformable', finest_mm: 4, samples: 4000, grid_mm: 16, both_ways: false, warp: false };
      const json = { kind: 'register', params, inputs: [volume.id, volume.id], roles: ['fixed', 'moving'] };
      const job = (await admin.call('POST', `/api/v1/cases/${caseId}/jobs`, { json, expect: 202 })).json;
      const made = await until('the displacements', 300000, async () => {
        const state = (await admin.get(`/api/v1/jobs/${job.id}`, { expect: 200 })).json;
        check(!['failed', 'dead'].includes(state.state), JSON.stringify(state.error));
        const items = (await admin.get(`/api/v1/cases/${caseId}/artefacts?limit=200`, { expect: 200 })).json.items.filter((a) => a.job_id === job.id);
        return state.state === 'done' && items;
      });
      check(made.map((a) => a.name).sort().join() === 'displacement,inverse,transform', JSON.stringify(made.map((a) => a.name)));
      const { meta } = made.find((a) => a.name === 'transform');
      check(meta.model === 'deformable' && meta.deformation.moved_max_mm < 0.5 && !meta.deformation.folds, JSON.stringify(meta.deformation));
      check(made.filter((a) => a.kind === 'displacement').every((a) => a.meta.convention === meta.deformation.convention), 'how to use it');
    });

    await test('asking_again_for_what_is_done_gives_what_is_done', async () => {
      const jobs = (await admin.get(`/api/v1/cases/${caseId}/jobs`, { expect: 200 })).json.items;
      const done = jobs.find((j) => j.kind === 'segment.bone' && j.state === 'done');
      const volume = (await admin.get(`/api/v1/cases/${caseId}/volumes`, { expect: 200 })).json.items.find((a) => a.kind === 'volume');
      const asked = await admin.call('POST', `/api/v1/cases/${caseId}/jobs`, { json: { kind: 'segment.bone', inputs: [volume.id] }, expect: 202 });
      check(asked.json.id === done.id && asked.json.state === 'done', JSON.stringify(asked.json));
    });
  }

  await test('flows_conform_to_the_interface', async () => {
    check(nonconformities.length === 0, nonconformities.join('\n'));
    const asked = [...conformance.seen.keys()];
    check(asked.length > 9, `only ${asked.length} operations were used`);
  });
} finally {
  await kerf.remove();
}
finish();

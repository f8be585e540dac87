// SIGKILL of anything, at many points: what was acknowledged is never lost, and the case ends with the very bytes that an
// undisturbed run makes. KERF_FAULT_SEED repeats a run; KERF_FAULT_KILLS says how many kills (default 25).
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kerf, bin, check, finish, run, scratch, sleep, test, until } from '../lib/kerf.mjs';

const seed = Number(process.env.KERF_FAULT_SEED ?? Date.now() % 1000000);
const kills = Number(process.env.KERF_FAULT_KILLS ?? 25);
let state = seed >>> 0;
// Mulberry32: a repeatable choice of victims and moments.
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

const folder = scratch('kerf-fault.');
const study = join(folder, 'study');
const made = await run(join(bin, 'kerf'), ['phantom', 'head', '--out', study, '--size', '128x128x128', '--spacing', '1.6x1.6x1.6']);
if (made.code !== 0) throw new Error(made.output);
const objects = readdirSync(study, { recursive: true }).length || readdirSync(study).length;

const send = (kerf) => run(join(bin, 'kerf'), ['import', study, '--to', `${kerf.ready.dicom.ae_title}@${kerf.ready.dicom.host}:${kerf.ready.dicom.port}`]);
const sentOf = (result) => JSON.parse(result.output.trim().split('\n').filter((l) => l.startsWith('{')).at(-1) ?? '{}').sent ?? 0;

async function onlyCase(kerf) {
  return until('the case', 120000, async () => {
    const cases = await kerf.all('/api/v1/cases');
    check(cases.length <= 1, `one study became ${cases.length} cases`);
    return cases[0];
  });
}

// Newest states win: artefacts of a finished case by kind and name.
async function outcome(kerf, expected) {
  const { id } = await onlyCase(kerf);
  await until('every instance', 120000, async () => (await kerf.get(`/api/v1/cases/${id}`)).counts.instances >= expected);
  const settled = await kerf.settled(id);
  const verified = await run(join(bin, 'kerf'), ['verify', '--data', kerf.dataFolder]);
  check(verified.code === 0, `kerf verify: ${verified.output}`);
  return { id, settled, artefacts: await kerf.artefacts(id) };
}

let reference;
await test('an_undisturbed_run_is_the_reference', async () => {
  const kerf = await Kerf.start({ folder: join(folder, 'a') });
  try {
    const result = await send(kerf);
    check(result.code === 0, result.output);
    reference = { sent: sentOf(result), ...(await outcome(kerf, sentOf(result))) };
    check(Object.keys(reference.artefacts).some((k) => k.startsWith('mesh/')), `no mesh: ${JSON.stringify(reference.settled)}`);
  } finally {
    await kerf.remove();
  }
});

// What may die: a role and how to recognise it among the processes below kerf up.
const victims = {
  intake: (p) => p.argv[0]?.endsWith('/kerf-intake'),
  worker: (p) => p.argv[0]?.endsWith('/kerf-workerd'),
  job: (p) => p.argv[0]?.endsWith('/kerf-job'),
  server: (p) => p.argv[0]?.endsWith('/kerf-server'),
  postgres: (p) => p.argv[0]?.endsWith('/postgres') || p.argv[0]?.startsWith('postgres:'),
};

await test(`anything_may_die_and_the_bytes_are_the_same (seed ${seed})`, async () => {
  const kerf = await Kerf.start({ folder: join(folder, 'b'), settings: { KERF_WORKER_LEASE_S: '2' } });
  const token = kerf.token();
  kerf.adminToken = token;
  const killed = {};
  try {
    let acknowledged = 0;
    let chaos = true;
    const sender = (async () => {
      for (;;) {
        const result = await send(kerf);
        acknowledged = Math.max(acknowledged, sentOf(result));
        if (result.code === 0) return;
        check(chaos || acknowledged >= 0, result.output);
        await sleep(200);
      }
    })();
    for (let n = 0; n < kills; n++) {
      await sleep(50 + random() * 700);
      // The last third is for jobs: nothing else is disturbed until one runs, and then it dies at some moment of its life.
      const wanted = n >= (2 * kills) / 3 ? 'job' : null;
      if (wanted) await until('a job', 8000, () => kerf.processes().some(victims.job), 5).catch(() => {});
      if (wanted) await sleep(random() * 600);
      const alive = kerf.processes();
      const names = Object.keys(victims).filter((role) => alive.some(victims[role]) && (!wanted || role === wanted));
      if (!names.length) continue;
      const name = names[Math.floor(random() * names.length)];
      const candidates = alive.filter(victims[name]);
      const victim = candidates[Math.floor(random() * candidates.length)];
      try {
        process.kill(victim.pid, 'SIGKILL');
        killed[name] = (killed[name] ?? 0) + 1;
      } catch { /* it has just ended by itself */ }
    }
    chaos = false;
    await Promise.race([sender, sleep(300000).then(() => { throw new Error('the sender never got everything through'); })]);
    console.log(`  killed: ${JSON.stringify(killed)}; objects: ${objects}`);
    // Jobs that died too often wait for an administrator: retry them as one would.
    const { id } = await onlyCase(kerf);
    await until('no dead job', 300000, async () => {
      const c = await kerf.settled(id);
      const dead = (await kerf.all(`/api/v1/cases/${id}/jobs`)).filter((j) => j.state === 'dead');
      for (const job of dead) await fetch(`${kerf.url}/api/v1/jobs/${job.id}/retry`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
      return dead.length === 0 && c;
    });
    const after = await outcome(kerf, reference.sent);
    check(after.settled.counts.instances === reference.sent, `${after.settled.counts.instances} instances of ${reference.sent}`);
    // Bytes that differ are kept for whoever has to find out why.
    for (const [name, hash] of Object.entries(after.artefacts))
      if (hash !== reference.artefacts[name])
        writeFileSync(join(process.env.KERF_TEST_ARTIFACTS ?? folder, `fault-${name.replaceAll('/', '-')}`), await kerf.get(`/api/v1/cases/${after.id}/blobs/${hash}`));
    check(JSON.stringify(after.artefacts) === JSON.stringify(reference.artefacts),
      `other bytes than undisturbed:\n${JSON.stringify(after.artefacts, null, 1)}\n${JSON.stringify(reference.artefacts, null, 1)}`);
  } catch (error) {
    writeFileSync(join(process.env.KERF_TEST_ARTIFACTS ?? folder, 'fault-kill.log'), kerf.log);
    throw error;
  } finally {
    await kerf.remove();
  }
});

await test('a_commit_whose_answer_is_lost_keeps_its_bytes', async () => {
  // Every process loses the connection after its 9th to 11th commit was sent, before the answer.
  const kerf = await Kerf.start({ folder: join(folder, 'd'), settings: { KERF_FAULT_COMMIT: '9,11', KERF_WORKER_LEASE_S: '5' } });
  try {
    await until('the study gets through', 180000, async () => (await send(kerf)).code === 0);
    const after = await outcome(kerf, reference.sent);
    check(JSON.stringify(after.artefacts) === JSON.stringify(reference.artefacts), 'other bytes after lost answers');
  } finally {
    await kerf.remove();
  }
});

await test('killing_kerf_up_takes_everything_along_and_nothing_is_lost', async () => {
  const kerf = await Kerf.start({ folder: join(folder, 'c') });
  const result = await send(kerf);
  check(result.code === 0, result.output);
  const before = kerf.processes().map((p) => p.pid);
  check(before.length >= 4, 'kerf up runs the database, a server, a listener and a worker');
  await kerf.stop('SIGKILL');
  await until('all processes gone', 120000, () => before.every((pid) => {
    try {
      return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
    } catch {
      return true;
    }
  }));
  const again = await Kerf.start({ folder: join(folder, 'c') });
  try {
    const after = await outcome(again, reference.sent);
    check(JSON.stringify(after.artefacts) === JSON.stringify(reference.artefacts), 'other bytes after a restart');
  } finally {
    await again.remove();
  }
});

rmSync(folder, { recursive: true, force: true });
finish();

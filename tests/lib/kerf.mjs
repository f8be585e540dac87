// A whole Kerf for a test: `kerf up` on free ports in a folder of its own, a signed-in client, and the processes below it.
// Node 18, no packages.
import { spawn, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };
export const bin = process.env.KERF_BIN ?? join(process.cwd(), 'build/release/bin');
export const data = process.env.KERF_TEST_DATA;

let failures = 0;
export const pass = (name) => console.log(`pass ${name}`);
export const skip = (name, reason) => console.log(`skip ${name}: ${reason}`);
export function fail(name, why) {
  failures++;
  console.log(`  ${String(why?.stack ?? why).replaceAll('\n', '\n  ')}`);
  console.log(`FAIL ${name}`);
}
// Runs one named test; an exception is its failure.
export async function test(name, body) {
  try {
    await body();
    pass(name);
  } catch (error) {
    fail(name, error);
  }
}
export const finish = () => process.exit(failures ? 1 : 0);
export function check(condition, message) {
  if (!condition) throw new Error(message);
}

export function scratch(prefix = 'kerf-test.') {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(folder, 0o755);
  return folder;
}

export async function until(what, timeoutMs, probe, everyMs = 100) {
  const deadline = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms${last ? ` (${last.message})` : ''}`);
    await sleep(everyMs);
  }
}

export class Kerf {
  // settings: further environment variables; args: further arguments of kerf up.
  static async start({ settings = {}, args = [], folder = scratch() } = {}) {
    const kerf = new Kerf();
    kerf.folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    kerf.dataFolder = join(folder, 'data');
    const ready = join(folder, 'ready.json');
    rmSync(ready, { force: true });
    kerf.log = '';
    // A test that is killed for taking too long takes its Kerf along.
    kerf.process = spawn('setpriv', ['--pdeathsig', 'TERM', join(bin, 'kerf'), 'up', '--data', kerf.dataFolder, '--http', '0', '--dicom', '0', '--ready-file',
      ready, '--sign-in-file', join(folder, 'sign-in'), ...args], {
      env: { ...process.env, ...settings }, stdio: ['ignore', 'ignore', 'pipe'],
    });
    kerf.process.stderr.on('data', (bytes) => { kerf.log += bytes; });
    kerf.exited = new Promise((resolve) => kerf.process.on('exit', (code, signal) => resolve({ code, signal })));
    await until('kerf up', 180000, () => {
      if (kerf.process.exitCode !== null) return true;
      return existsSync(ready) && readFileSync(ready, 'utf8').trim().endsWith('}');
    });
    if (kerf.process.exitCode !== null) throw new Error(`kerf up ended: ${kerf.log.slice(-2000)}`);
    kerf.ready = JSON.parse(readFileSync(ready, 'utf8'));
    kerf.url = kerf.ready.http;
    return kerf;
  }

  // A machine token of the given role, made by the administration tool.
  token(role = 'admin') {
    const text = execFileSync(join(bin, 'kerf'), ['token', 'add', '--data', this.dataFolder, '--name', `test ${role}`, '--role', role],
      { encoding: 'utf8', env: { ...process.env, KERF_DATABASE_URL: this.ready.database_url } });
    return /kerf_[A-Za-z0-9_-]+/.exec(text)[0];
  }

  async get(path, token = (this.adminToken ??= this.token())) {
    const response = await fetch(this.url + path, { headers: { authorization: `Bearer ${token}` } });
    const body = response.headers.get('content-type')?.includes('json') ? await response.json() : Buffer.from(await response.arrayBuffer());
    if (!response.ok) throw Object.assign(new Error(`${path}: ${response.status} ${JSON.stringify(body).slice(0, 300)}`), { status: response.status });
    return body;
  }

  async all(path) {
    const items = [];
    let cursor = '';
    do {
      const page = await this.get(`${path}${path.includes('?') ? '&' : '?'}limit=100${cursor ? `&cursor=${cursor}` : ''}`);
      items.push(...page.items);
      cursor = page.next ?? '';
    } while (cursor);
    return items;
  }

  // name → content hash of every current artefact of a case.
  async artefacts(caseId) {
    const list = (await this.all(`/api/v1/cases/${caseId}/artefacts`)).filter((a) => !a.superseded);
    const names = list.map((a) => `${a.kind}/${a.name}`);
    check(new Set(names).size === names.length, `current artefacts share a name: ${names.sort().join(' ')}`);
    return Object.fromEntries(list.map((a) => [`${a.kind}/${a.name}`, a.sha256]).sort());
  }

  // A case is receiving until all that it has received is taken by imports, and processing until the last of its jobs has ended.
  async settled(caseId, timeoutMs = 300000) {
    return until(`case ${caseId}`, timeoutMs, async () => {
      const c = await this.get(`/api/v1/cases/${caseId}`);
      return !['receiving', 'processing'].includes(c.state) && c.progress.queued + c.progress.running === 0 && c;
    }, 250);
  }

  // Processes below `kerf up`: [{pid, name, argv}], children of children included.
  processes() {
    const all = readdirSync('/proc').filter((d) => /^\d+$/.test(d)).flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return state === 'Z' ? [] : [{ pid: Number(pid), parent: Number(parent), name: /\((.*)\)/s.exec(stat)[1], argv }];
      } catch {
        return [];
      }
    });
    const below = new Set([this.process.pid]);
    for (let grown = true; grown;) {
      grown = false;
      for (const p of all) if (below.has(p.parent) && !below.has(p.pid)) grown = !!below.add(p.pid);
    }
    return all.filter((p) => below.has(p.pid) && p.pid !== this.process.pid);
  }

  async stop(signal = 'SIGTERM') {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill(signal);
    return this.exited;
  }

  async remove() {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

export function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    child.stdout.on('data', (b) => { output += b; });
    child.stderr.on('data', (b) => { output += b; });
    child.on('exit', (code, signal) => resolve({ code, signal, output }));
  });
}

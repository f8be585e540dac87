// A client for tests of the API: cookies, CSRF token or bearer token, and every exchange is held against openapi.yaml.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
if (!existsSync(join(root, 'api', 'node_modules', 'ajv')))
  execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--silent'], { cwd: join(root, 'api'), stdio: 'inherit' });
const { Conformance } = await import('../../api/conformance.mjs');

export const conformance = new Conformance();
export const nonconformities = [];

const isText = (type) => /json|text|yaml/.test(type ?? '');

export class Client {
  constructor(url, { token, record } = {}) {
    this.url = url;
    this.token = token;
    this.record = record;
  }

  headers(more) {
    const headers = { ...more };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    if (this.cookie) headers.cookie = this.cookie;
    if (this.csrf) headers['x-csrf-token'] = this.csrf;
    return headers;
  }

  // { status, headers, text, json, bytes }. json: a body to send as JSON; body: bytes, FormData or a stream.
  async call(method, path, { json, body, headers = {}, expect } = {}) {
    const sent = this.headers(json === undefined ? headers : { 'content-type': 'application/json', ...headers });
    const requestBody = json === undefined ? body : typeof json === 'string' ? json : JSON.stringify(json);
    const response = await fetch(this.url + path, { method, headers: sent, body: requestBody, duplex: 'half' });
    const bytes = Buffer.from(await response.arrayBuffer());
    const type = response.headers.get('content-type');
    const text = isText(type) ? bytes.toString('utf8') : null;
    const answer = { status: response.status, headers: response.headers, bytes, text };
    if (/json/.test(type ?? '') && bytes.length) answer.json = JSON.parse(text);
    const problems = conformance.check({
      method, url: path, status: response.status, requestHeaders: sent,
      requestBody: typeof requestBody === 'string' ? requestBody : null,
      responseHeaders: Object.fromEntries(response.headers), responseBody: bytes.length ? (text ?? '(bytes)') : null,
    });
    nonconformities.push(...problems);
    const wanted = expect === undefined ? null : [].concat(expect);
    if (wanted && !wanted.includes(response.status))
      throw new Error(`${method} ${path}: ${response.status}, expected ${wanted.join(' or ')}: ${text?.slice(0, 400)}`);
    return answer;
  }

  get(path, options) {
    return this.call('GET', path, options);
  }

  async signIn(login, password) {
    const answer = await this.call('POST', '/api/v1/session', { json: { login, password } });
    if (answer.status === 200) {
      this.cookie = answer.headers.get('set-cookie').split(';')[0];
      this.csrf = answer.json.csrf_token;
    }
    return answer;
  }

  // Server-sent events until `until(event)` is true or the time is over. Returns a promise of the events seen, whose
  // `opened` resolves when the server has begun to listen: what happens from then on is told.
  events(path, until, timeoutMs = 60000, headers = {}) {
    let open;
    const opened = new Promise((resolve) => { open = resolve; });
    return Object.assign(this.readEvents(path, until, timeoutMs, headers, open).finally(open), { opened });
  }

  async readEvents(path, until, timeoutMs, headers, open) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), timeoutMs);
    const seen = [];
    try {
      const response = await fetch(this.url + path, { headers: this.headers({ accept: 'text/event-stream', ...headers }), signal: abort.signal });
      if (response.status !== 200) throw new Error(`${path}: ${response.status}`);
      open();
      let pending = '';
      for await (const chunk of response.body) {
        pending += Buffer.from(chunk).toString('utf8');
        let end;
        while ((end = pending.indexOf('\n\n')) >= 0) {
          const block = pending.slice(0, end);
          pending = pending.slice(end + 2);
          const fields = Object.fromEntries(block.split('\n').filter((l) => !l.startsWith(':')).map((l) => [l.slice(0, l.indexOf(':')), l.slice(l.indexOf(':') + 1).trim()]));
          if (!fields.event) continue;
          const event = { id: fields.id, kind: fields.event, data: JSON.parse(fields.data) };
          seen.push(event);
          if (until(event)) return seen;
        }
      }
    } catch (error) {
      if (error.name !== 'AbortError') throw error;
    } finally {
      clearTimeout(timer);
      abort.abort();
    }
    return seen;
  }
}

// login and one-time password of the first administrator, as `kerf up --sign-in-file` wrote them.
export function firstSignIn(text) {
  const found = /Sign in as (\S+) with the one-time password (\S+)/.exec(text);
  if (!found) throw new Error('kerf up wrote no sign-in');
  return { login: found[1], password: found[2] };
}

export const phrase = 'a long pass phrase for tests';
// Signs in with a one-time password and changes it at once.
export async function signInFirst(client, login, oneTime, password = phrase) {
  const answer = await client.signIn(login, oneTime);
  if (answer.status !== 200) throw new Error(`sign in: ${answer.status} ${answer.text}`);
  await client.call('PUT', '/api/v1/session/password', { json: { current_password: oneTime, new_password: password }, expect: 204 });
  return client;
}

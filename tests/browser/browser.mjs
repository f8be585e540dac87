// Chromium for the browser tests: software WebGL2, no background traffic, and a record of every exchange with the API.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from '../lib/kerf.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const artifacts = join(resolve(process.env.KERF_TEST_ARTIFACTS ?? join(root, 'tests/artifacts')), 'browser');
const chromiumPath = process.env.KERF_CHROMIUM ?? '/usr/bin/chromium';

export const haveBrowser = () => existsSync(chromiumPath) && existsSync(join(root, 'web/node_modules/playwright-core'));

const flags = [
  '--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist',
  '--disable-background-networking', '--disable-component-update', '--disable-default-apps', '--disable-sync',
  '--disable-extensions', '--no-first-run', '--metrics-recording-only', '--mute-audio',
];

export async function launch() {
  const { chromium } = createRequire(join(root, 'web/package.json'))('playwright-core');
  mkdirSync(artifacts, { recursive: true });
  return chromium.launch({ executablePath: chromiumPath, headless: true, args: flags });
}

/** How long the page is waited for, and what jobs make: what is stuck takes longer, what a busy machine does late does not. */
export const patience = 60000;
export const jobs = { timeout: 300000 };

export async function newContext(browser, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(patience);
  return context;
}

/** Input is handled before a frame and drawn in it: two frames later everything that was asked for is on the screen. */
export const drawn = (page) => page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); }));

/** A page on a machine so busy that nothing comes after its first picture for a while: no timer, and nothing behind a frame. */
export async function busyPage(context) {
  const page = await context.newPage();
  await page.addInitScript(() => {
    const [frame, timer] = [window.requestAnimationFrame.bind(window), window.setTimeout.bind(window)];
    window.requestAnimationFrame = (then) => frame(() => timer(then, 3000));
    window.setTimeout = (then, ms, ...rest) => timer(then, (ms ?? 0) + 3000, ...rest);
  });
  return page;
}

/** The picture of an element in which nothing moves any more. */
export async function still(locator) {
  const next = async () => {
    await drawn(locator.page()); // what moves has moved on since the picture before
    return locator.screenshot();
  };
  let before = await next();
  return until('the picture to come to rest', patience, async () => {
    const now = await next();
    const same = now.equals(before);
    before = now;
    return same && now;
  });
}

// A body that a closed page never finished reading would be waited for without end.
const soon = (promise, ms = 10000) => Promise.race([promise, new Promise((resolve) => { setTimeout(resolve, ms); })]);

const secret = /^(password|current_password|new_password|csrf_token|one_time_password|token)$/;

function hidden(text) {
  if (text === null || text === undefined) return null;
  try {
    return JSON.stringify(JSON.parse(text), (key, value) => (secret.test(key) && typeof value === 'string' ? `kerf_${'x'.repeat(43)}` : value));
  } catch {
    return text;
  }
}

const safe = (headers) => Object.fromEntries(Object.entries(headers)
  .map(([name, value]) => [name, /^(cookie|set-cookie|x-csrf-token|authorization)$/.test(name) ? 'kerf_session=left-out' : value]));

const jsonLike = (type) => /json|problem/.test(type ?? '');

/** Everything the pages of a context say to the server and hear from it; bodies of JSON only. */
export class Recorder {
  exchanges = [];
  foreign = [];
  streams = 0;
  own = new Set();
  pending = [];

  constructor(context, origin) {
    this.own.add(origin);
    context.on('request', (request) => {
      const url = request.url();
      if (url.startsWith('data:') || url.startsWith('blob:')) return;
      if (!this.own.has(new URL(url).origin)) this.foreign.push(url);
      if (url === `${origin}/api/v1/events`) this.streams++;
    });
    context.on('response', (response) => {
      const url = new URL(response.url());
      if (url.origin !== origin || !url.pathname.startsWith('/api/') || url.pathname === '/api/v1/events') return;
      this.pending.push(this.note(response, url));
    });
  }

  // The form that api/conformance.mjs reads.
  async note(response, url) {
    const request = response.request();
    const [requestHeaders, responseHeaders] = [await soon(request.allHeaders(), 5000), await soon(response.allHeaders(), 5000)];
    if (!requestHeaders || !responseHeaders) return;
    const sent = jsonLike(requestHeaders['content-type']) ? request.postData() : null;
    let heard = request.method() === 'HEAD' || response.status() === 204 ? null : '(bytes)';
    if (jsonLike(responseHeaders['content-type'])) {
      // A page that is left before it read an answer takes the body with it: such an exchange says nothing.
      heard = await soon(response.text().catch(() => undefined));
      if (heard === undefined) return;
    }
    this.exchanges.push({
      method: request.method(), url: url.pathname + url.search, status: response.status(), requestHeaders: safe(requestHeaders),
      requestBody: hidden(sent), responseHeaders: safe(responseHeaders), responseBody: hidden(heard),
    });
  }

  /** Passwords, tokens and cookies are left out; what stays has the same form. Returns the file's path. */
  async save(name) {
    await soon(Promise.all(this.pending), 2000); // what comes at all has come by now
    const path = join(artifacts, name);
    writeFileSync(path, `[\n${this.exchanges.map((e) => JSON.stringify(e)).join(',\n')}\n]\n`);
    return path;
  }
}

/** Collects what a page complains about. */
export function watch(page, complaints) {
  page.on('pageerror', (error) => complaints.push(`exception: ${error.stack ?? error.message}`));
  page.on('console', (message) => {
    const text = message.text();
    if (/Content Security Policy|violates/i.test(text)) complaints.push(`policy: ${text}`);
    // The browser itself reports every 401 and 404; those that the page asks for on purpose are not complaints.
    else if (message.type() === 'error' && !/Failed to load resource/.test(text)) complaints.push(`console: ${text}`);
  });
}

/**
 * A proxy that counts what the browser is sent, workers included, and remembers the count at the moment when the page says that
 * its first picture is there.
 */
export async function meter(page, origin) {
  const parts = [];
  const seen = { atPicture: null, byPath: new Map() };
  const proxy = createServer((request, response) => {
    const onward = httpRequest(new URL(request.url, origin), { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.on('data', (chunk) => {
        parts.push([Date.now(), chunk.length]);
        seen.byPath.set(request.url, (seen.byPath.get(request.url) ?? 0) + chunk.length);
      });
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  await page.exposeFunction('kerfPictureShown', (when) => {
    seen.atPicture ??= parts.reduce((n, [time, bytes]) => n + (time <= when ? bytes : 0), 0);
  });
  await page.addInitScript(() => {
    new MutationObserver(() => {
      if (document.documentElement.dataset.firstPicture) window.kerfPictureShown(Date.now());
    }).observe(document, { attributes: true, subtree: true });
  });
  seen.url = `http://127.0.0.1:${proxy.address().port}`;
  seen.close = () => {
    proxy.close();
    proxy.closeAllConnections();
  };
  return seen;
}

/** A real drop of files or folders from the disk, through the browser's own machinery. */
export async function drop(page, paths, x = 600, y = 400) {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) await session.send('Input.dispatchDragEvent', { type, x, y, data });
  await session.detach();
}

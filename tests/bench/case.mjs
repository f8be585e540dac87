// From the last C-STORE to the bone mesh on a browser's screen, and where that time goes: the real head CT (with test data)
// and a 512 × 512 × 512 phantom. The page of the case is opened as soon as the case exists, as an impatient planner would.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Kerf, bin, check, data, run, scratch, until } from '../lib/kerf.mjs';
import { haveBrowser, launch } from '../browser/browser.mjs';

if (!haveBrowser()) {
  console.log('case: skipped, there is no Chromium or web/node_modules');
  process.exit(0);
}
const password = 'copper lantern hedge 41';
const folder = scratch('kerf-bench.');
const studies = [];
if (data && existsSync(join(data, 'head_ct/dicom'))) studies.push(['head_ct', join(data, 'head_ct/dicom')]);
const phantom = join(folder, 'phantom');
const made = await run(join(bin, 'kerf'), ['phantom', 'head', '--out', phantom, '--size', '512x512x512', '--spacing', '0.45x0.45x0.45']);
check(made.code === 0, made.output);
studies.push(['phantom 512³', phantom]);

const kerf = await Kerf.start({ folder });
const [, login, oneTime] = /as (\S+) with the one-time password (\S+)/.exec(readFileSync(join(folder, 'sign-in'), 'utf8'));
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, baseURL: kerf.url });
const page = await context.newPage();
await page.goto('/');
await page.fill('input[name=username]', login);
await page.fill('input[name=password]', oneTime);
await page.click('button[type=submit]');
await page.fill('input[name=current]', oneTime);
await page.fill('input[name=next]', password);
await page.fill('input[name=again]', password);
await page.click('button[type=submit]');
await page.waitForSelector('.empty h2, tr[data-case]');

const seconds = (ms) => `${(ms / 1000).toFixed(2).padStart(7)} s`;
for (const [name, study] of studies) {
  const known = new Set((await kerf.all('/api/v1/cases')).map((c) => c.id));
  const sent = await run(join(bin, 'kerf'), ['import', study, '--to', `KERF@127.0.0.1:${kerf.ready.dicom.port}`]);
  const last = Date.now();
  check(sent.code === 0, sent.output);
  const report = JSON.parse(sent.output.trim().split('\n').at(-1));
  const { id } = await until('the case', 30000, async () => (await kerf.all('/api/v1/cases')).find((c) => !known.has(c.id)), 20);
  await page.goto(`/cases/${id}`);
  await page.waitForSelector('html[data-first-picture]', { timeout: 300000 });
  const picture = Date.now();
  await page.waitForSelector('[data-triangles]', { timeout: 600000 });
  const mesh = Date.now();
  const jobs = (await kerf.all(`/api/v1/cases/${id}/jobs`)).sort((a, b) => a.created_at.localeCompare(b.created_at));
  console.log(`${name}: ${report.sent} instances sent in ${report.seconds.toFixed(2)} s (${(report.sent / report.seconds).toFixed(0)}/s)`);
  console.log(`  ${seconds(picture - last)}  last C-STORE → first picture`);
  console.log(`  ${seconds(mesh - last)}  last C-STORE → bone mesh on screen`);
  for (const job of jobs) {
    const [queued, began, ended] = [job.created_at, job.started_at, job.finished_at].map((t) => Date.parse(t));
    console.log(`  ${seconds(ended - began)}  ${job.kind.padEnd(13)} queued ${seconds(queued - last)}, waited ${seconds(began - queued)}, done ${seconds(ended - last)} after the last C-STORE`);
  }
  const done = Math.max(...jobs.filter((j) => j.kind === 'mesh').map((j) => Date.parse(j.finished_at)));
  console.log(`  ${seconds(mesh - done)}  mesh stored → on screen (event, download, decode, first frame)`);
}
await browser.close();
await kerf.remove();
rmSync(folder, { recursive: true, force: true });

// What a person does with Kerf, from the first sign-in to the surgeon's phone, in a real browser against a real server.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, data, finish, Kerf, run, skip, test, until } from '../lib/kerf.mjs';
import { artifacts, busyPage, drawn as drawnIn, drop, haveBrowser, jobs, launch, meter, newContext, patience, Recorder, still, watch } from './browser.mjs';
import { niftiVoxels, writeZip } from './files.mjs';
import { fusedStory, phantoms, phoneStory } from './fused.mjs';
import { jobsStory } from './jobs.mjs';
import { levelsStory } from './levels.mjs';

const budget = 2 * 1024 * 1024;
const ownPassword = 'copper lantern hedge 41';

if (!haveBrowser()) {
  skip('browser', 'no Chromium, or web/node_modules is missing');
  finish();
}
if (!data) {
  skip('browser', 'KERF_TEST_DATA is not set');
  finish();
}

async function server() {
  if (process.env.KERF_URL) {
    return { url: process.env.KERF_URL, login: process.env.KERF_LOGIN, password: process.env.KERF_PASSWORD, end: async () => undefined };
  }
  const kerf = await Kerf.start();
  const text = readFileSync(join(kerf.folder, 'sign-in'), 'utf8');
  const [, login, password] = /as (\S+) with the one-time password (\S+)/.exec(text) ?? [];
  return { url: kerf.url, login, password, end: () => kerf.remove() };
}

const at = await server();
const origin = new URL(at.url).origin;
const browser = await launch();
const context = await newContext(browser, { viewport: { width: 1440, height: 900 }, colorScheme: 'dark', reducedMotion: 'reduce', baseURL: origin });
const recorder = new Recorder(context, origin);
const complaints = [];
const page = await context.newPage();
watch(page, complaints);

const shot = (name, of = page) => of.screenshot({ path: join(artifacts, `${name}.png`) });
const text = (selector) => page.locator(selector).innerText();
const pane = (name) => page.locator(`[data-pane="${name}"]`);

async function signIn(login, password, on = page) {
  await on.fill('input[name=username]', login);
  await on.fill('input[name=password]', password);
  await on.click('button[type=submit]');
}

const drawn = () => drawnIn(page);

/** Slice numbers as the panes show them: voxel indices from 0. */
async function indices() {
  const number = async (name) => Number((await text(`[data-testid=${name}-slice]`)).split('/')[0]) - 1;
  return [await number('sagittal'), await number('coronal'), await number('axial')];
}

async function hounsfield() {
  await page.mouse.move(700, 20);
  await drawn();
  return Number((await text('[data-testid=axial-value]')).replace('−', '-').replace(' HU', ''));
}

/** Mean brightness of a grid of points of a pane's grey picture, read from its canvas. */
function picture(name, steps = 24) {
  return page.evaluate(([id, n]) => {
    const canvas = document.querySelector(`[data-pane="${id}"] .pane-picture canvas`);
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return Array.from({ length: n * n }, (_, p) => {
      const x = Math.floor((((p % n) + 0.5) / n) * canvas.width);
      const y = Math.floor(((Math.floor(p / n) + 0.5) / n) * canvas.height);
      return pixels[4 * (y * canvas.width + x)];
    });
  }, [name, steps]);
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function correlation(a, b) {
  const [ma, mb] = [mean(a), mean(b)];
  const sum = (f) => a.reduce((n, _, i) => n + f(i), 0);
  return sum((i) => (a[i] - ma) * (b[i] - mb)) / Math.sqrt(sum((i) => (a[i] - ma) ** 2) * sum((i) => (b[i] - mb) ** 2));
}

// Made beside the first tests, which leave the machine idle for most of the time.
const spine = phantoms();
spine.catch(() => undefined); // told of where it is waited for
const began = Date.now();
const clock = (name, body) => test(name, async () => {
  const from = Date.now();
  await body();
  if (process.env.KERF_TEST_TIMES) console.log(`  ${((Date.now() - from) / 1000).toFixed(1)} s of ${((Date.now() - began) / 1000).toFixed(1)} s`);
});

let caseId = '';
let voxels = null;

await clock('browser: a wrong password is answered in words and tells nothing', async () => {
  await page.goto('/');
  await page.waitForSelector('input[name=username]');
  await shot('01-sign-in');
  await signIn(at.login, 'not the password');
  const words = await until('the answer', patience, () => page.locator('.form-error').innerText());
  check(/password|name/i.test(words) && !/unknown|exist/i.test(words), `said: ${words}`);
  const busy = await busyPage(context);
  await busy.goto('/');
  await busy.waitForSelector('input[name=username]');
  check(await busy.evaluate(() => document.activeElement?.getAttribute('name')) === 'username', 'the name has the focus as it appears');
  await busy.close();
});

await clock('browser: the one-time password must be changed before anything else', async () => {
  await signIn(at.login, at.password);
  await page.waitForSelector('h1:has-text("Choose your password")');
  await page.goto('/admin/accounts');
  await page.waitForSelector('h1:has-text("Choose your password")');
  await page.fill('input[name=current]', at.password);
  await page.fill('input[name=next]', 'short');
  await page.fill('input[name=again]', 'short');
  await page.click('button[type=submit]');
  check(/12/.test(await text('.form-error')), 'a short password is refused with the rule');
  await shot('02-first-password');
  await page.fill('input[name=next]', ownPassword);
  await page.fill('input[name=again]', ownPassword);
  await page.click('button[type=submit]');
  await page.waitForSelector('.admin-head');
});

await clock('browser: the empty work list says what to do', async () => {
  await page.goto('/');
  await page.waitForSelector('.empty h2');
  check(/No cases/.test(await text('.empty h2')), 'empty state');
  await shot('03-empty');
});

await clock('browser: what can be seen takes keys, and a sheet takes them from the page below', async () => {
  const busy = await busyPage(context);
  await busy.goto('/');
  await busy.waitForSelector('.worklist-tools');
  await busy.keyboard.press('?');
  check(await busy.locator('dialog[open]').isVisible(), 'the sheet is open');
  const theme = () => busy.getAttribute('html', 'data-theme');
  const before = await theme();
  await busy.keyboard.press('d');
  check((await theme()) === before, 'a letter is not for the page below');
  await busy.close();
});

await clock('browser: a file that is not DICOM is refused with the reason', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kerf-browser.'));
  const note = join(folder, 'letter.txt');
  writeFileSync(note, 'This is a letter, not an image.');
  await drop(page, [note]);
  await page.waitForSelector('.upload-notes li');
  const words = await text('.upload-notes li');
  check(/letter\.txt/.test(words) && /refused/i.test(words), words);
  await shot('04-refused');
  await page.click('.upload button:has-text("Close")');
});

await clock('browser: a dropped zip becomes a case, live', async () => {
  const zip = join(mkdtempSync(join(tmpdir(), 'kerf-browser.')), 'head.zip');
  const entries = writeZip(zip, join(data, 'head_ct/dicom'), { 'readme.txt': Buffer.from('not an image') });
  await drop(page, [zip]);
  await page.waitForSelector('.upload strong:has-text("Finished")', jobs);
  const sum = await text('.upload-sum');
  check(sum.includes(`${entries - 1} images stored`) && sum.includes('1 refused'), sum);
  await shot('05-uploaded');
  // The row comes by the event stream: nothing is reloaded.
  const row = page.locator('tr[data-case]').first();
  await row.waitFor();
  caseId = await row.getAttribute('data-case');
  await page.click('.upload button:has-text("Close")');
  await shot('06-work-list');
});

await clock('browser: jobs run and the case becomes ready, live', async () => {
  await page.click(`tr[data-case="${caseId}"] a`);
  await page.waitForSelector('html[data-first-picture]', jobs);
  await page.waitForSelector('[data-triangles]', jobs);
  check(Number(await page.locator('[data-triangles]').getAttribute('data-triangles')) >= 1000, 'a surface of at least 1,000 triangles');
  await page.waitForSelector('.case-bar .state-ready', jobs);
});

await clock('browser: less than 2 MB compressed before the first picture', async () => {
  const fresh = await context.newPage();
  const meters = await meter(fresh, origin);
  recorder.own.add(meters.url);
  const from = Date.now();
  await fresh.goto(`${meters.url}/cases/${caseId}`);
  await until('the first picture', patience, () => meters.atPicture !== null);
  const [bytes, ms] = [meters.atPicture, Date.now() - from];
  console.log(`  first picture after ${ms} ms and ${(bytes / 1024).toFixed(0)} KiB`);
  const heavy = [...meters.byPath].filter(([, n]) => n > 100000).map((entry) => entry.join(' ')).join(', ');
  check(bytes > 100000 && bytes < budget, `${bytes} bytes; ${heavy}`);
  await fresh.close();
  meters.close();
});

await clock('browser: two tabs share one event stream', async () => {
  const before = recorder.streams;
  const second = await context.newPage();
  await second.goto('/');
  await second.waitForSelector('tr[data-case]');
  check(recorder.streams === before, `the second tab opened ${recorder.streams - before} streams`);
  await second.close();
});

await clock('browser: the value under the crosshair is the voxel of the volume', async () => {
  await page.waitForSelector('.panes[data-loaded="1.00"]');
  const list = await page.evaluate(async (id) => (await (await fetch(`/api/v1/cases/${id}/artefacts?kind=volume`)).json()).items, caseId);
  const bytes = await page.evaluate(async (url) => {
    const raw = new Uint8Array(await (await fetch(url)).arrayBuffer());
    let out = '';
    for (let i = 0; i < raw.length; i += 32768) out += String.fromCharCode(...raw.subarray(i, i + 32768));
    return btoa(out);
  }, list[0].url);
  voxels = niftiVoxels(Buffer.from(bytes, 'base64'));
  const box = await pane('axial').boundingBox();
  for (const [fx, fy] of [[0.5, 0.5], [0.42, 0.4], [0.6, 0.35], [0.5, 0.7], [0.37, 0.55]]) {
    await page.mouse.click(box.x + box.width * fx, box.y + box.height * fy);
    await drawn();
    const [i, j, k] = await indices();
    const shown = await hounsfield();
    check(shown === voxels.at(i, j, k), `shown ${shown}, voxel (${i}, ${j}, ${k}) is ${voxels.at(i, j, k)}`);
  }
});

await clock('browser: the grey picture is the slice it says, not mirrored and not turned', async () => {
  const box = await pane('axial').boundingBox();
  await page.keyboard.press('x');
  const n = 24;
  const seen = await picture('axial', n);
  // Where two clicks land says how pixels map to voxels; from there on the picture must agree with the volume.
  const spot = async (fx, fy) => {
    await page.mouse.click(box.x + box.width * fx, box.y + box.height * fy);
    await drawn();
    return indices();
  };
  const [a, b] = [await spot(0.35, 0.35), await spot(0.65, 0.65)];
  const index = (f, axis) => Math.round(a[axis] + ((b[axis] - a[axis]) * (f - 0.35)) / 0.3);
  const expected = (flip) => seen.map((_, p) => {
    const [fx, fy] = [((p % n) + 0.5) / n, (Math.floor(p / n) + 0.5) / n];
    const [i, j] = [index(flip ? 1 - fx : fx, 0), index(fy, 1)];
    const inside = i >= 0 && j >= 0 && i < voxels.dim[0] && j < voxels.dim[1];
    return inside ? Math.max(-500, Math.min(1500, voxels.at(i, j, a[2]))) : -500;
  });
  const [right, mirrored] = [correlation(seen, expected(false)), correlation(seen, expected(true))];
  check(right > 0.97 && right > mirrored + 0.03, `correlation ${right.toFixed(3)}, mirrored ${mirrored.toFixed(3)}`);
  check((await pane('axial').locator('.edge-left').innerText()) === 'R' && (await pane('sagittal').locator('.edge-left').innerText()) === 'A',
    'orientation letters');
  await page.keyboard.press('x');
});

await clock('browser: wheel, keys and crosshair move linked slices', async () => {
  const box = await pane('coronal').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const before = await indices();
  await page.mouse.wheel(0, 120);
  await drawn();
  check((await indices())[1] === before[1] + 1, 'a notch of the wheel is one slice');
  await page.keyboard.press('PageDown');
  await drawn();
  check((await indices())[1] === before[1] - 9, 'page down is ten slices back');
  await page.mouse.click(box.x + box.width * 0.6, box.y + box.height * 0.45);
  await drawn();
  const after = await indices();
  check(after[0] !== before[0] && after[2] !== before[2], `${before} to ${after}`);
  await shot('07-case');
});

await clock('browser: each slice pane is a slider that tells its slice, and the arrow keys move it', async () => {
  const told = async (name) => {
    const slider = pane(name).getByRole('slider', { name: `${name[0].toUpperCase()}${name.slice(1)} slice` });
    const [now, most, words] = await Promise.all(['now', 'max', 'text'].map((value) => slider.getAttribute(`aria-value${value}`)));
    const [shown, place] = [await text(`[data-testid=${name}-slice]`), await pane(name).locator('.pane-place').innerText()];
    check(shown === `${now} / ${most}`, `shown ${shown}, told ${now} of ${most}`);
    const [letter, mm] = [place.slice(0, 1), place.slice(2)];
    check(words.startsWith(`slice ${now} of ${most}, ${mm} ${letter.toLowerCase()}`), `shown ${place}, told ${words}`);
    return { slider, now: Number(now), most: Number(most), words };
  };
  for (const name of ['axial', 'coronal', 'sagittal']) {
    const before = await told(name);
    await before.slider.focus();
    const press = async (key, expected) => {
      await page.keyboard.press(key);
      await drawn();
      const { now } = await told(name);
      check(now === expected, `${key} in ${name} goes to ${now}, not ${expected}`);
    };
    await press('ArrowUp', before.now + 1);
    await press('ArrowDown', before.now);
    await press('ArrowLeft', before.now - 1);
    await press('PageDown', before.now - 11);
    await press('PageUp', before.now - 1);
    await press('End', before.most);
    await press('ArrowRight', before.most);
    await press('Home', 1);
    for (let at = 1; at < before.now; at += before.now - at >= 10 ? 10 : 1) await page.keyboard.press(before.now - at >= 10 ? 'PageUp' : 'ArrowUp');
    await drawn();
    check((await told(name)).now === before.now, `${name} is back`);
  }
  await page.click('button[aria-label="Reset views"]'); // a crosshair out of sight had moved the other panes' pictures
  await drawn();
  check(/, [\d.]+ mm (superior|inferior)$/.test((await told('axial')).words), (await told('axial')).words);
  await shot('07b-slider-focus');
});

await clock('browser: windows change the picture, presets and drag', async () => {
  const bone = mean(await picture('axial'));
  await page.selectOption('[data-testid=window-preset]', 'soft');
  await drawn();
  const soft = mean(await picture('axial'));
  check(Math.abs(soft - bone) > 8, `bone ${bone.toFixed(1)}, soft tissue ${soft.toFixed(1)}`);
  await shot('08-soft-tissue');
  const box = await pane('axial').boundingBox();
  await page.mouse.move(box.x + 200, box.y + 200);
  await page.mouse.down({ button: 'right' });
  await page.mouse.move(box.x + 320, box.y + 260, { steps: 4 });
  await page.mouse.up({ button: 'right' });
  check(!/C 50 · W 400/.test(await text('.tool-figures')), 'dragging with the right button changes the window');
  await page.keyboard.press('1');
});

await clock('browser: structures can be hidden, coloured and made see-through', async () => {
  const scene = pane('scene').locator('canvas');
  const full = await still(scene);
  await page.click('.structure button[aria-label^="Show"]');
  await until('the scene to be empty', patience, async () => (await scene.screenshot()).length < full.length);
  await page.click('.structure button[aria-label^="Show"]');
  await page.locator('.structure input[type=color]').fill('#d98a4a');
  await page.click('.structure .structure-name');
  await page.locator('.structure input[type=range]').fill('0.45');
  await still(scene);
  await shot('09-see-through');
  await page.locator('.structure input[type=range]').fill('1');
  await page.click('.structure .structure-name');
});

await clock('browser: a click on the surface moves the slices onto bone', async () => {
  await pane('scene').locator('button[aria-label="Reset the 3D view"]').click();
  await still(pane('scene').locator('canvas'));
  const box = await pane('scene').locator('canvas').boundingBox();
  const before = await indices();
  await page.mouse.click(box.x + box.width * 0.5, box.y + box.height * 0.55);
  await until('the slices to move', patience, async () => `${await indices()}` !== `${before}`);
  const [i, j, k] = await indices();
  const around = [-1, 0, 1].flatMap((d) => [voxels.at(i + d, j, k), voxels.at(i, j + d, k), voxels.at(i, j, Math.max(0, k + d))]);
  check(Math.max(...around) > 150, `near the point the highest value is ${Math.max(...around)} HU`);
  await shot('10-picked');
});

await clock('browser: a job is run from the case page and its result appears by itself', async () => {
  await page.keyboard.press('j');
  await page.waitForSelector('form.run');
  await page.selectOption('[data-testid=run-choice]', 'kind:segment.bone');
  check(/HU/.test(await text('form.run')) && (await page.inputValue('#param-threshold_hu')) === '250', 'the form shows defaults, with units');
  await shot('21-run');
  await page.fill('#param-threshold_hu', '9999');
  check(await page.isDisabled('form.run button[type=submit]') && /-1000 to 4000 HU/.test(await text('.param.wrong p')), 'limits are said and kept');
  await page.fill('#param-threshold_hu', '250');
  await page.fill('#param-close_mm', '1');
  await page.click('form.run button[type=submit]');
  await page.waitForSelector('form.run', { state: 'detached' });
  await page.waitForSelector('.structure[data-structure="Bone 2"]', jobs);
  await page.waitForSelector('.case-bar .state-ready', jobs);
  await shot('22-result');
  // Two runs of one job on one scan from one threshold: the later one counts, the earlier one is folded away and still there.
  const set = page.locator('.side-body > .structure-set', { has: page.locator('[data-structure="Bone 2"]') });
  check(/^Bone from 250 HU current/.test(await set.locator('h3').first().innerText()), await set.innerText());
  const earlier = set.locator('[data-testid=superseded]');
  check((await earlier.getAttribute('open')) === null && /1 earlier run, superseded/.test(await earlier.innerText()), await earlier.innerText());
  check(!(await page.locator('[data-structure="Bone"]').isVisible()), 'the earlier run is folded');
  await earlier.locator('summary').first().click();
  check(await page.locator('[data-structure="Bone"]').isVisible() && /counts in its place/.test(await earlier.innerText()), await earlier.innerText());
  check(await page.getAttribute('[data-structure="Bone"] button[aria-label="Show Bone"]', 'title') === 'Show', 'the earlier run is not drawn in the later one');
  await shot('22a-superseded');
  await earlier.locator('summary').first().click();
  check(/of CT · .*, \d+×\d+×\d+/.test(await page.locator('.job[data-job="segment.bone"] [data-testid=job-of]').first().textContent()), 'a finished job names its scan');
});

await clock('browser: the preset for the jaw gives each part its own surface', async () => {
  await page.keyboard.press('j');
  await page.waitForSelector('form.run');
  check((await page.inputValue('[data-testid=run-choice]')) === 'preset:jaw', 'the form starts with what suits a head');
  check(/Needs[\s\S]*CT of the head[\s\S]*Yields[\s\S]*mandible[\s\S]*Takes/.test(await text('form.run')), 'and says what it needs, yields and takes');
  await page.selectOption('[data-testid=run-choice]', 'preset:spine_mr');
  check(/made for MR/.test(await text('form.run .job-warning')), 'a scan of another kind is warned of');
  await page.selectOption('[data-testid=run-choice]', 'preset:jaw');
  check((await page.inputValue('#param-jaw_hu')) === '830', 'the preset names the parameters of its kind');
  await page.click('form.run button[type=submit]');
  await page.waitForSelector('form.run', { state: 'detached' });
  for (const part of ['Mandible', 'Lower teeth']) await page.waitForSelector(`.structure[data-structure="${part}"]`, jobs);
  await page.waitForSelector('.case-bar .state-ready', jobs);
  check(/Needs review/.test(await text('.structure[data-structure="Lower teeth"]')), 'what is unsure says so');
  const shows = (name) => page.locator(`.structure[data-structure="${name}"] button[aria-label^="Show"]`).getAttribute('aria-pressed');
  check((await shows('Skin')) === 'false' && (await shows('Mandible')) === 'true', 'the skin does not hide what lies in it');
  check((await shows('Bone')) === 'false' && (await shows('Bone 2')) === 'false', 'nor bone as a whole its parts');
  const set = page.locator('.structure-set', { hasText: 'Mandible' });
  const all = set.locator('button[aria-label^="Show all"]');
  check((await all.getAttribute('aria-pressed')) === 'mixed', 'some of the head are shown');
  await all.click();
  check((await all.getAttribute('aria-pressed')) === 'true' && (await shows('Skin')) === 'true', 'now all of it');
  await all.click();
  check((await all.getAttribute('aria-pressed')) === 'false' && (await shows('Mandible')) === 'false', 'and none of it');
  await set.locator('.structure[data-structure="Mandible"] .structure-name').click();
  await page.click('button:has-text("Show only this")');
  check((await shows('Mandible')) === 'true' && (await shows('Skull')) === 'false' && (await shows('Bone')) === 'false', 'one alone, of all that any job found');
  await shot('22b-head-parts');
});

await clock('browser: two segmentations are compared, and the least alike part comes first', async () => {
  await page.keyboard.press('j');
  await page.waitForSelector('form.run');
  await page.selectOption('[data-testid=run-choice]', 'kind:compare');
  const bones = await page.locator('[data-testid=run-input-a] option').evaluateAll((options) => options.filter((o) => /^Bone/.test(o.text)).map((o) => o.value));
  check(bones.length === 2, `two segmentations of bone are offered, not ${bones.length}`);
  await page.selectOption('[data-testid=run-input-a]', bones[0]);
  await page.selectOption('[data-testid=run-input-b]', bones[1]);
  await page.click('form.run button[type=submit]');
  const table = page.locator('[data-testid=comparison]');
  await table.waitFor(jobs);
  const [dice] = (await table.locator('tbody td').allInnerTexts()).map(Number);
  check(dice > 0.5 && dice < 1 && /Bone/.test(await table.locator('tbody th').first().innerText()), `bone as it is and with its gaps closed agrees to ${dice}`);
  await table.scrollIntoViewIfNeeded();
  await shot('22c-comparison');
});

await clock('browser: two scans are aligned and seen in one picture', async () => {
  await page.keyboard.press('j');
  await page.waitForSelector('form.run');
  await page.selectOption('[data-testid=run-choice]', 'kind:register');
  check(await page.isDisabled('form.run button[type=submit]'), 'one scan is not enough');
  const scan = await page.locator('[data-testid=run-input-fixed] option').first().getAttribute('value');
  await page.selectOption('[data-testid=run-input-moving]', scan);
  await page.fill('#param-finest_mm', '4');
  await page.fill('#param-samples', '4000');
  await page.click('form.run button[type=submit]');
  await page.waitForSelector('[data-testid=second-scan] option:has-text("aligned")', { state: 'attached', ...jobs });
  const before = await pane('axial').locator('.pane-overlay').screenshot();
  await page.selectOption('[data-testid=second-scan]', { index: 1 });
  await page.waitForFunction(() => /^[^≈]*2nd [−\d]/.test(document.querySelector('[data-testid=axial-value]').textContent));
  const [first, second] = (await text('[data-testid=axial-value]')).replaceAll('−', '-').match(/-?[\d.]+(?= HU)/g).map(Number);
  check(Math.abs(first - second) < 120, `the same scan, aligned, reads ${first} and ${second}`);
  await until('the second scan to be drawn', patience, async () => Buffer.compare(before, await pane('axial').locator('.pane-overlay').screenshot()) !== 0);
  await shot('23-fused-blend');
  await page.click('.fusion-modes button:has-text("Checkerboard")');
  await drawn();
  await shot('24-fused-checker');
  await page.click('.fusion-modes button:has-text("Split")');
  await page.keyboard.press('f');
  await drawn();
  check(/first/.test(await text('.fusion button[title=F]')), 'F shows the second scan alone');
  await page.keyboard.press('b');
  await page.keyboard.press('g');
  await page.waitForSelector('.volume-row[aria-checked=true]:has-text("aligned")');
  await drawn();
  check((await page.getAttribute('.fusion-modes button:has-text("Split")', 'aria-checked')) === 'true', 'and how both are shown stays');
  check((await page.locator('.side-good').count()) === 0, 'a resampled scan is not called fit for planning');
  await shot('25-fused-split');
  await page.keyboard.press('g');
  await page.selectOption('[data-testid=second-scan]', '');
});

await clock('browser: panes enlarge, help opens, colours switch', async () => {
  await pane('sagittal').locator('.pane-touch').dblclick();
  await pane('axial').waitFor({ state: 'hidden' }); // the other panes make room
  await drawn();
  await shot('11-enlarged');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.waitForSelector('dialog[open]');
  check((await page.locator('dialog kbd').count()) > 15, 'the sheet lists the shortcuts');
  await shot('12-help');
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog[open]', { state: 'detached' });
  await page.keyboard.press('d');
  check((await page.getAttribute('html', 'data-theme')) === 'light', 'light');
  await drawn();
  await shot('13-light');
  await page.goto('/');
  await page.waitForSelector('tr[data-case]');
  await shot('14-work-list-light');
  await page.keyboard.press('d');
});

await clock('browser: search finds and does not find', async () => {
  await page.keyboard.press('/');
  const urls = [];
  const bodies = [];
  const note = (request) => {
    urls.push(decodeURIComponent(request.url().replaceAll('+', ' ')));
    if (request.url().endsWith('/api/v1/cases/search')) bodies.push(request.postDataJSON());
  };
  const noteMove = (frame) => urls.push(decodeURIComponent(frame.url().replaceAll('+', ' ')));
  page.on('request', note);
  page.on('framenavigated', noteMove);
  await page.keyboard.type('no such patient');
  await page.waitForSelector('.empty h2:has-text("No case matches")');
  // Who types slowly is searched for in between.
  await until('the search for all of it', patience, () => bodies.at(-1)?.q === 'no such patient');
  await page.keyboard.press('Enter'); // a search box must not send itself as a form
  await drawn();
  urls.push(decodeURIComponent(page.url().replaceAll('+', ' ')), await page.evaluate(() => JSON.stringify(history.state)));
  // Patient data belongs in no URL: not of a request, not of the page.
  check(urls.every((url) => !/patient|[?&]q=/.test(url ?? '')), `the search stands in ${urls}`);
  page.off('request', note);
  page.off('framenavigated', noteMove);
  await page.fill('input[type=search]', '');
  await page.waitForSelector('tr[data-case]');
});

await clock('browser: administration makes an account and says how to reach us', async () => {
  await page.goto('/admin/accounts');
  await page.click('button:has-text("New account")');
  await page.fill('input[name=login]', 'sam');
  await page.fill('input[name=display_name]', 'Sam Surgeon');
  await page.selectOption('select[name=role]', 'surgeon');
  await page.click('dialog button[type=submit]');
  await page.waitForSelector('.secret code');
  const once = await text('.secret code');
  check(once.length >= 16, 'a one-time password is shown');
  await page.click('button:has-text("I have it")');
  await page.waitForSelector('td:has-text("Sam Surgeon")');
  await shot('15-accounts');
  await page.click('a:has-text("DICOM peers")');
  await page.waitForSelector('.howto dl');
  await shot('16-peers');
  await page.click('a:has-text("Failed jobs")');
  await page.waitForSelector('.side-good');
  const other = await newContext(browser, { baseURL: origin });
  const sam = await other.newPage();
  await sam.goto(`/cases/${caseId}`);
  await signIn('sam', once, sam);
  await sam.waitForSelector('h1:has-text("Choose your password")');
  await sam.fill('input[name=current]', once);
  await sam.fill('input[name=next]', 'velvet anchor prairie 9');
  await sam.fill('input[name=again]', 'velvet anchor prairie 9');
  await sam.click('button[type=submit]');
  await sam.waitForSelector('html[data-first-picture]');
  check((await sam.locator('button:has-text("Cancel"), button:has-text("Try again")').count()) === 0, 'a surgeon is not offered what is not allowed');
  await other.close();
});

await clock('browser: on a phone one pane at a time, by touch', async () => {
  const phone = await newContext(browser, {
    baseURL: origin, viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark',
    storageState: await context.storageState(),
  });
  const small = await phone.newPage();
  watch(small, complaints);
  await small.goto('/');
  await small.waitForSelector('tr[data-case]');
  await shot('17-phone-list', small);
  await small.tap(`tr[data-case="${caseId}"] a`);
  await small.waitForSelector('html[data-first-picture]');
  await shot('18-phone-axial', small);
  const slice = () => small.locator('[data-testid=axial-slice]').innerText();
  const before = await slice();
  const touch = await phone.newCDPSession(small);
  const finger = (type, y) => touch.send('Input.dispatchTouchEvent', { type, touchPoints: type === 'touchEnd' ? [] : [{ x: 200, y }] });
  await finger('touchStart', 300);
  for (let y = 310; y <= 400; y += 10) await finger('touchMove', y);
  await finger('touchEnd', 400);
  await until('a finger to go through the slices', patience, async () => (await slice()) !== before);
  await small.tap('nav.tabs button:has-text("3D")');
  await small.waitForSelector('[data-triangles]');
  await still(small.locator('[data-pane=scene] canvas'));
  await shot('19-phone-3d', small);
  await small.tap('nav.tabs button:has-text("Case")');
  await small.waitForSelector('.sidebar');
  await shot('20-phone-case', small);
  const wide = await small.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1);
  check(!wide, 'nothing is wider than the screen');
  await phone.close();
});

const stage = { page, browser, context, origin, complaints, clock, shot, text, pane, drawn, picture };
const spineCase = await fusedStory(stage, spine);
await jobsStory(stage);
await levelsStory(stage, spineCase);
await phoneStory(stage, spineCase);

await clock('browser: signing out closes the door', async () => {
  await page.goto('/');
  await page.click('.account');
  await page.click('button:has-text("Sign out")');
  await page.waitForSelector('input[name=username]');
  await page.goto(`/cases/${caseId}`);
  await page.waitForSelector('input[name=username]');
  const status = await page.evaluate(async (id) => (await fetch(`/api/v1/cases/${id}`)).status, caseId);
  check(status === 401, `the API answers ${status}`);
});

await clock('browser: nothing came from elsewhere and nothing was complained of', async () => {
  check(recorder.foreign.length === 0, recorder.foreign.join('\n'));
  check(complaints.length === 0, complaints.join('\n'));
});

const recorded = await recorder.save('exchanges.json');
await clock('browser: every exchange conforms to the interface', async () => {
  const { code, output } = await run(process.execPath, ['tests/service/openapi_check.mjs', recorded]);
  check(code === 0, output);
  check(recorder.exchanges.length > 40, `only ${recorder.exchanges.length} exchanges were recorded`);
});
await browser.close();
await at.end();
finish();

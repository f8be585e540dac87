// Two scans of one patient, a CT and an MR, from two studies to one picture. The phantom knows where each point of one lies in the
// other, so that what the page shows is held against the truth.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bin, check, until } from '../lib/kerf.mjs';
import { drawn as drawnIn, drop, jobs, newContext, patience, watch } from './browser.mjs';
import { writeZip } from './files.mjs';

/** Both series, coarse enough for a test; the pairs are points as the MR has them, then as the CT does (x, y, z each; LPS mm). */
export async function phantoms() {
  const folder = mkdtempSync(join(tmpdir(), 'kerf-browser.'));
  const make = async (kind, spacing) => {
    await promisify(execFile)(join(bin, 'kerf'), ['phantom', kind, '--out', join(folder, kind), '--truth', join(folder, `${kind}.truth`), '--spacing', spacing]);
    const zip = join(folder, `${kind}.zip`);
    writeZip(zip, join(folder, kind));
    return zip;
  };
  const zips = [await make('spine', '1.4x1.4x2'), await make('spine-mr', '1.6x1.6x2.4')];
  const lines = readFileSync(join(folder, 'spine-mr.truth/pairs.csv'), 'utf8').trim().split('\n').slice(1);
  return { zips, pairs: lines.map((line) => line.split(',').slice(-6).map(Number)) };
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const length = (v) => Math.hypot(...v);

/** The second scan is there, exact: its value at the crosshair is shown without “≈”. */
const second = (page) => page.waitForFunction(() => [...document.querySelectorAll('.pane-value')].some((e) => /2nd [−\d]/.test(e.textContent)));

/** Takes what phantoms() makes; returns the id of the case, open in the page with both scans side by side. */
export async function fusedStory({ page, clock, shot, text, pane, drawn, picture }, made) {
  let caseId = '';
  const { zips, pairs } = await made;
  const overlay = (name) => page.evaluate((id) => document.querySelector(`[data-pane="${id}"] .pane-overlay`).toDataURL(), name);
  const artefacts = (kind) => page.evaluate(async ([id, k]) => (await (await fetch(`/api/v1/cases/${id}/artefacts?kind=${k}`)).json()).items, [caseId, kind]);

  await clock('browser: a CT and an MR of one patient come as two studies into one case', async () => {
    await page.goto('/');
    await page.waitForSelector('table, .empty');
    await drop(page, zips);
    await page.waitForSelector('.upload strong:has-text("Finished")', jobs);
    const row = page.locator('tr[data-case]:has-text("SPINE")').first();
    await row.waitFor();
    caseId = await row.getAttribute('data-case');
    await page.click('.upload button:has-text("Close")');
    await row.locator('a').click();
    for (const modality of ['CT', 'MR']) await page.waitForSelector(`.volume-row .tag:has-text("${modality}")`, jobs);
    await page.waitForSelector('html[data-first-picture]');
    check((await page.locator('[data-testid=second-scan]').count()) === 0, 'nothing ties the two yet');
    await shot('30-two-scans');
  });

  await clock('browser: the preset aligns the MR with the CT, and every landmark is carried to its place', async () => {
    await page.keyboard.press('j');
    await page.waitForSelector('form.run');
    await page.selectOption('[data-testid=run-choice]', 'preset:fuse');
    const input = async (name) => page.locator(`[data-testid=run-input-${name}] option:checked`).innerText();
    check(/^CT/.test(await input('fixed')) && /^MR/.test(await input('moving')), 'the preset takes the CT and the MR by itself');
    await shot('31-fuse-form');
    await page.click('form.run button[type=submit]');
    await page.waitForSelector('[data-testid=second-scan] option:has-text("MR")', { state: 'attached', ...jobs });
    const [transform] = await artefacts('transform');
    const misses = pairs.map((pair) => {
      const [mr, ct] = [pair.slice(0, 3), pair.slice(3)];
      return length(transform.meta.matrix.slice(0, 3).map((row, r) => row[0] * ct[0] + row[1] * ct[1] + row[2] * ct[2] + row[3] - mr[r]));
    });
    const [before, after] = [pairs.map((p) => length([0, 1, 2].map((c) => p[c] - p[3 + c]))), misses].map(mean);
    // The phantom's MR is bent by up to 2.5 mm, which a rigid map cannot follow.
    check(before > 8 && after < 3, `landmarks were ${before.toFixed(2)} mm apart and are ${after.toFixed(2)} mm apart`);
    await page.waitForSelector('.case-bar .state-ready', jobs);
  });

  await clock('browser: the fused view shows both, blended and in panes side by side with one cursor', async () => {
    const own = await page.locator('[data-testid=second-scan] option').evaluateAll((options) => options.find((o) => /MR/.test(o.text) && !/aligned/.test(o.text)).value);
    await page.selectOption('[data-testid=second-scan]', own);
    await second(page);
    await shot('32-fused-ct-mr');
    await page.click('.fusion-modes button:has-text("Side by side")');
    await pane('axial-second').waitFor();
    await drawn();
    check(/MR · Spine T2/.test(await pane('axial-second').innerText()) && /CT · /.test(await pane('axial').innerText()), 'each pane names its scan');
    await shot('33-beside');
    // One cursor: a click in the second pane moves the first to the same point of the patient, and each reads its own scan there.
    const box = await pane('sagittal-second').boundingBox();
    await page.mouse.click(box.x + box.width * 0.55, box.y + box.height * 0.4);
    await drawn();
    check((await text('[data-testid=axial-slice]')) === (await text('[data-testid=axial-second-slice]')), 'both panes are at one slice');
    check(/HU/.test(await text('[data-testid=sagittal-value]')) && !/HU/.test(await text('[data-testid=sagittal-second-value]')), 'each pane reads its own scan');
    check(await pane('sagittal').locator('.pane-echo').isVisible(), 'the first pane marks where the pointer is in the second');
    // One zoom: the wheel with Ctrl in one pane changes the scale of both.
    const [a, b] = [await overlay('sagittal'), await overlay('sagittal-second')];
    await page.keyboard.down('Control');
    await page.mouse.wheel(0, -160);
    await page.keyboard.up('Control');
    await drawn();
    check(a !== (await overlay('sagittal')) && b !== (await overlay('sagittal-second')), 'both panes zoom');
    // A window each: dragging in the second pane leaves the first as it is.
    const [ct, mr] = [await text('.tool-figures'), await page.locator('.fusion output').allInnerTexts()];
    await page.mouse.move(box.x + 100, box.y + 100);
    await page.mouse.down({ button: 'right' });
    await page.mouse.move(box.x + 160, box.y + 130, { steps: 3 });
    await page.mouse.up({ button: 'right' });
    await drawn();
    const chosen = await page.locator('.fusion output').allInnerTexts();
    check((await text('.tool-figures')) === ct && `${chosen}` !== `${mr}`, 'the second pane has a window of its own');
    await shot('34-beside-moved');
    // Swapped, the cursor stays at its point, and each scan keeps its window.
    await page.keyboard.press('g');
    await drawn();
    await shot('35-beside-swapped');
    check(/MR · /.test(await pane('axial').innerText()), 'G swaps the panes');
    check((await text('.tool-figures')).includes(chosen[0]), `the window went along: ${await text('.tool-figures')} was ${chosen}`);
    await page.keyboard.press('g');
    await drawn();
    check((await text('.tool-figures')) === ct, 'and back');
    await pane('sagittal-second').locator('.pane-touch').dblclick();
    await drawn();
    await shot('36-beside-large');
    await page.keyboard.press('Escape');
  });

  await clock('browser: side by side each scan has its own labels, and those of the other only where they are asked for', async () => {
    // Red has no grey in it: what is red in an overlay is a label, once the crosshair is off.
    const red = (name) => page.evaluate((id) => {
      const canvas = document.querySelector(`[data-pane="${id}"] .pane-overlay`);
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let n = 0;
      for (let p = 0; p < data.length; p += 4) if (data[p + 3] > 0 && data[p] - Math.max(data[p + 1], data[p + 2]) > 60) n++;
      return n;
    }, name);
    const both = async () => [await red('sagittal'), await red('sagittal-second')];
    // Labels come coarse first: what counts is what stays.
    const settled = async (what, holds) => {
      let before = [];
      return until(what, patience, async () => {
        const now = await both();
        const stays = `${now}` === `${before}`;
        before = now;
        return stays && holds(...now) && now;
      });
    };
    await page.keyboard.press('x');
    await page.keyboard.press('r');
    await page.locator('.structure input[type=color]').first().fill('#ff0000');
    await page.waitForFunction(() => !document.querySelector('[data-testid=sagittal-second-value]').textContent.includes('≈'));
    const [ct] = await settled('bone of the CT in its own pane, and none in that of the MR', (one, two) => one > 200 && two === 0);
    check((await page.locator('[data-testid=sagittal-second-carried]').count()) === 0, 'nothing is said to be carried');
    await shot('34b-labels-own');
    await page.locator('[data-testid=both-labels]').check();
    await settled(`the CT's labels, ${ct} pixels, in its pane and carried to that of the MR`,
      (again, carried) => again === ct && Math.abs(carried / ct - 1) < 0.35);
    check(/^\+ labels of CT · .*, by the alignment$/.test(await text('[data-testid=sagittal-second-carried]')), 'and said so');
    await shot('34c-labels-carried');
    await page.locator('[data-testid=both-labels]').uncheck();
    // Changed places, the CT is the second scan: its labels are on its panes still, cut as its picture is.
    await page.keyboard.press('g');
    await page.waitForFunction(() => /MR · /.test(document.querySelector('[data-pane="sagittal"]').innerText));
    await page.waitForFunction(() => !document.querySelector('[data-testid=sagittal-second-value]').textContent.includes('≈'));
    await settled(`the CT's labels, ${ct} pixels, in the pane of the second scan alone`,
      (first, second) => first === 0 && Math.abs(second / ct - 1) < 0.35);
    const set = page.locator('.structure-set', { hasText: 'Bone' }).first();
    check(/From the second scan: drawn on its own slices/.test(await set.innerText()), await set.innerText());
    await shot('34d-labels-second');
    await page.keyboard.press('g');
    await page.waitForFunction(() => /CT · /.test(document.querySelector('[data-pane="sagittal"]').innerText));
    await page.keyboard.press('x');
    await drawn();
  });

  await clock('browser: what is known of the alignment is said, and that its error is not', async () => {
    const summary = page.locator('[data-testid=alignment] summary');
    check(/error not measured|doubtful/.test(await summary.innerText()), await summary.innerText());
    const box = page.locator('[data-testid=alignment]');
    if ((await box.getAttribute('open')) === null) await summary.click();
    const words = await box.innerText();
    const [transform] = await artefacts('transform');
    check(/error in mm is not known/.test(words) && /Rigid/.test(words), words);
    check(words.includes(`${transform.meta.quality.inverse_mm.toFixed(1)} mm`) && words.includes(`${Math.round(transform.meta.quality.overlap * 100)} %`), words);
    await summary.scrollIntoViewIfNeeded();
    await shot('37-alignment');
    await summary.click();
  });

  await clock('browser: however fast the scans change places, each pane ends with the scan it names', async () => {
    const names = ['axial', 'coronal', 'sagittal'];
    const pictures = () => Promise.all(names.map((name) => picture(name)));
    const apart = (a, b) => Math.max(...a.map((grey, n) => mean(grey.map((v, p) => Math.abs(v - b[n][p])))));
    const press = (gaps) => page.evaluate(async (waits) => {
      for (const ms of waits) {
        document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'g', bubbles: true }));
        if (ms > 0) await new Promise((done) => { setTimeout(done, ms); });
      }
    }, gaps);
    const named = async (isMr) => {
      await page.waitForFunction((mr) => /MR · /.test(document.querySelector('[data-pane="axial"]').innerText) === mr, isMr);
      return pictures();
    };
    // The grey comes to rest, as the scan in question shows it.
    const settled = async (what, isMr, holds) => {
      let before = await named(isMr);
      return until(what, patience, async () => {
        const now = await named(isMr);
        const stays = apart(now, before) === 0;
        before = now;
        return stays && holds(now) && now;
      });
    };
    const ct = await settled('the CT at rest', false, () => true);
    await press([0]);
    const mr = await settled('the MR, which looks different', true, (now) => apart(ct, now) > 5);
    // Presses before the last volume is in graphics memory: in one task, in a few, and over several frames.
    let swapped = true;
    for (const gaps of [[0, 0], [0, 0, 0], [4, 9, 2, 7, 1], [16, 16, 16, 16], [30, 60, 20, 40, 50]]) {
      await press(gaps);
      if (gaps.length % 2 === 1) swapped = !swapped;
      await settled(`the scan that is named, after presses at ${gaps} ms`, swapped, (now) => apart(now, swapped ? mr : ct) < 1);
    }
    if (swapped) await press([0]);
    await named(false);
  });

  await clock('browser: the form and the fused view work by keyboard alone', async () => {
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-testid') ?? document.activeElement?.textContent);
    const mode = () => page.locator('.fusion-modes [aria-checked=true]').innerText();
    await page.locator('.fusion-modes [aria-checked=true]').focus();
    const slice = await text('[data-testid=axial-slice]');
    await page.keyboard.press('ArrowLeft');
    check((await mode()) === 'Split' && (await focused()) === 'Split', `arrow keys choose: ${await mode()}`);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    check((await mode()) === 'Blend', 'and go round');
    check((await text('[data-testid=axial-slice]')) === slice, 'without going through the slices');
    await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowRight');
    check((await text('.fusion output >> nth=0')) === '55 %', 'the next stop is the share');
    await page.keyboard.press('f');
    check(/first/.test(await text('.fusion button[title=F]')), 'shortcuts go on working on a slider');
    check((await pane('axial').locator('.pane-scan').innerText()).startsWith('MR') && !/CT/.test(await pane('axial').locator('.pane-scan').innerText()), 'the pane names the scan it shows alone');
    await page.keyboard.press('b');
    await page.keyboard.press(',');
    check((await text('.fusion output >> nth=0')) === '50 %', 'a comma takes some of the second scan away');
    await page.keyboard.press('n');
    await page.keyboard.press('.');
    check((await mode()) === 'Checkerboard' && (await text('.fusion output >> nth=0')) === '25 mm', 'N goes to the next, a full stop makes the tiles larger');
    await page.keyboard.press(',');
    await page.locator('.volume-row[aria-checked=true]').focus();
    await page.keyboard.press('j');
    await page.waitForSelector('form.run');
    check((await focused()) === 'run-choice', 'the form starts at the job');
    // A browser takes a letter that comes a second later for the first of another name.
    await until('a preset to be chosen by typing its name', patience, async () => {
      await page.keyboard.type('Fuse');
      return (await page.inputValue('[data-testid=run-choice]')) === 'preset:fuse';
    }, 1500);
    await page.keyboard.press('Escape');
    await page.waitForSelector('form.run', { state: 'detached' });
    check(/Spine 120 kV/.test(await focused()), 'and closing gives the focus back');
    await page.click('.fusion-modes button:has-text("Side by side")');
  });
  return caseId;
}

/** The same case in a pocket: the form of a job, and the fused view by touch. */
export async function phoneStory({ browser, context, origin, complaints, clock, shot }, caseId) {
  await clock('browser: on a phone a job can be started and both scans compared', async () => {
    const phone = await newContext(browser, {
      baseURL: origin, viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark',
      storageState: await context.storageState(),
    });
    const small = await phone.newPage();
    watch(small, complaints);
    const fits = () => small.evaluate(() => document.documentElement.scrollWidth <= innerWidth + 1);
    await small.goto(`/cases/${caseId}`);
    await small.waitForSelector('html[data-first-picture]');
    await small.tap('nav.tabs button:has-text("Case")');
    await small.tap('.sidebar button:has-text("Run a job")');
    await small.waitForSelector('form.run');
    await small.selectOption('[data-testid=run-choice]', 'preset:fuse');
    const start = await small.locator('form.run button[type=submit]').boundingBox();
    check(start.y + start.height <= 844 && start.height >= 36, 'the button that starts is in reach, and large enough for a thumb');
    await shot('50-phone-form', small);
    await small.selectOption('[data-testid=run-choice]', 'kind:register');
    await shot('51-phone-form-long', small);
    const sheet = await small.evaluate(() => { const d = document.querySelector('dialog'); return d.scrollWidth <= d.clientWidth + 1; });
    check(sheet && await fits(), 'the form is not wider than the screen');
    await small.locator('form.run button:has-text("Cancel")').tap();
    const own = await small.locator('[data-testid=second-scan] option').evaluateAll((options) => options.find((o) => /MR/.test(o.text) && !/aligned/.test(o.text)).value);
    await small.selectOption('[data-testid=second-scan]', own);
    await shot('52-phone-fused-controls', small);
    await small.tap('nav.tabs button:has-text("Sagittal")');
    await second(small);
    await shot('53-phone-blend', small);
    await small.selectOption('[data-testid=fusion-mode]', 'beside');
    await small.locator('[data-pane="sagittal-second"]').waitFor();
    await drawnIn(small);
    const [one, two] = [await small.locator('[data-pane="sagittal"]').boundingBox(), await small.locator('[data-pane="sagittal-second"]').boundingBox()];
    check(two.y >= one.y + one.height - 2 && Math.abs(one.height - two.height) <= 2 && two.y + two.height <= 844, 'one above the other, equally large, both on the screen');
    const slice = (name) => small.locator(`[data-testid=${name}-slice]`).innerText();
    const before = await slice('sagittal');
    const touch = await phone.newCDPSession(small);
    const finger = (type, y) => touch.send('Input.dispatchTouchEvent', { type, touchPoints: type === 'touchEnd' ? [] : [{ x: 200, y }] });
    await finger('touchStart', two.y + 80);
    for (let y = two.y + 90; y <= two.y + 180; y += 10) await finger('touchMove', y);
    await finger('touchEnd', two.y + 180);
    await until('a finger in one pane to go through the slices of both', patience,
      async () => (await slice('sagittal')) !== before && (await slice('sagittal')) === (await slice('sagittal-second')));
    await shot('54-phone-beside', small);
    check(await fits(), 'nothing is wider than the screen');
    await phone.close();
  });
}

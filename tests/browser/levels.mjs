// Levels that no job can count: two people name them, each alone, and only then do the pictures say so.
import { check } from '../lib/kerf.mjs';
import { jobs, newContext, watch } from './browser.mjs';

const password = 'amber ladder quartz 27';

/** A surgeon of their own, signed in on a browser of their own; made over the API by the administrator whose page this is. */
async function surgeon({ page, browser, origin, complaints }) {
  const once = await page.evaluate(async () => {
    const { csrf_token: token } = await (await fetch('/api/v1/session')).json();
    const body = JSON.stringify({ login: 'robin', display_name: 'Robin Reader', role: 'surgeon' });
    const answer = await fetch('/api/v1/accounts', { method: 'POST', body, headers: { 'content-type': 'application/json', 'x-csrf-token': token } });
    return (await answer.json()).one_time_password;
  });
  const context = await newContext(browser, { baseURL: origin, viewport: { width: 1280, height: 800 }, colorScheme: 'light', reducedMotion: 'reduce' });
  const theirs = await context.newPage();
  watch(theirs, complaints);
  await theirs.goto('/');
  await theirs.fill('input[name=username]', 'robin');
  await theirs.fill('input[name=password]', once);
  await theirs.click('button[type=submit]');
  await theirs.waitForSelector('h1:has-text("Choose your password")');
  await theirs.fill('input[name=current]', once);
  for (const field of ['next', 'again']) await theirs.fill(`input[name=${field}]`, password);
  await theirs.click('button[type=submit]');
  await theirs.waitForSelector('h1:has-text("Choose your password")', { state: 'detached' });
  return theirs;
}

/** Names the levels in the form: the topmost vertebra's, and the others follow. */
async function name(page, top) {
  await page.locator('[data-testid=levels] button').first().click();
  await page.waitForSelector('[data-testid=level-1]');
  check(await page.isDisabled('dialog button[type=submit]'), 'nothing is said before it is chosen');
  await page.selectOption('[data-testid=level-1]', top);
}

const standing = (page) => page.locator('[data-testid=levels]').first();
const said = (page, state) => page.waitForSelector(`[data-testid=levels][data-state=${state}]`);

export async function levelsStory(stage, caseId) {
  const { page, clock, shot } = stage;
  let other = null;

  await clock('browser: a spine in an MR is numbered, and its levels are for two people to name', async () => {
    await page.goto(`/cases/${caseId}`);
    await page.waitForSelector('html[data-first-picture]');
    await page.locator('.volume-row:has-text("MR")').first().click();
    await page.keyboard.press('j');
    await page.waitForSelector('form.run');
    await page.selectOption('[data-testid=run-choice]', 'preset:spine_mr');
    await page.click('form.run button[type=submit]');
    await page.waitForSelector('form.run', { state: 'detached' });
    await standing(page).waitFor(jobs);
    check(/Levels not confirmed.*Two people must name them, each alone/s.test(await standing(page).innerText()), await standing(page).innerText());
    await shot('60-levels-unconfirmed');
  });

  await clock('browser: one person names them, and that is not shown as confirmed', async () => {
    await name(page, 'T13');
    check(await page.isDisabled('dialog button[type=submit]') && /Not every vertebra/.test(await page.locator('dialog').innerText()), 'eight of them do not end so');
    await page.selectOption('[data-testid=level-1]', 'T10');
    check((await page.inputValue('[data-testid=level-8]')) === 'L5', 'the others follow from the top');
    await shot('61-levels-form');
    await page.click('dialog button[type=submit]');
    await said(page, 'once');
    check(/one more person must/.test(await standing(page).innerText()), await standing(page).innerText());
    check((await page.locator('[data-structure^="Vertebra T10"]').count()) === 0, 'no vertebra is called so yet');
  });

  await clock('browser: a second person, who is not told how, says otherwise; then both agree and it is confirmed', async () => {
    other = await surgeon(stage);
    await other.goto(`/cases/${caseId}`);
    await other.waitForSelector('html[data-first-picture]');
    await other.locator('.volume-row:has-text("MR")').first().click();
    await said(other, 'once');
    check(!/T10|L5/.test(await other.locator('.sidebar').innerText()), 'the second one is not prompted');
    await name(other, 'T11');
    await other.click('dialog button[type=submit]');
    // Both pages hear of it by the event stream.
    await Promise.all([said(other, 'disputed'), said(page, 'disputed')]);
    check(/Robin Reader: T11 to /.test(await standing(page).innerText()), await standing(page).innerText());
    await shot('62-levels-disputed');
    await name(other, 'T10');
    await other.click('dialog button[type=submit]');
    await Promise.all([said(other, 'confirmed'), said(page, 'confirmed')]);
    check(/Levels confirmed: T10 to L5.*Robin Reader/s.test(await standing(page).innerText()), await standing(page).innerText());
    await page.waitForSelector('[data-structure="Vertebra T10"]', { state: 'attached' });
    await shot('63-levels-confirmed');
    await shot('64-levels-confirmed-light', other);
    await other.context().close();
  });
}

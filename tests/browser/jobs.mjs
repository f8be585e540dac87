// Jobs that do not go well, on a case that is open: one is cancelled while it runs, one fails and says why.
import { check, until } from '../lib/kerf.mjs';
import { jobs, patience } from './browser.mjs';

export async function jobsStory({ page, clock, shot, text }) {
  const start = async (kind, values) => {
    await page.keyboard.press('j');
    await page.waitForSelector('form.run');
    await page.selectOption('[data-testid=run-choice]', `kind:${kind}`);
    for (const [name, value] of Object.entries(values)) await page.fill(`#param-${name}`, value);
    await page.click('form.run button[type=submit]');
    await page.waitForSelector('form.run', { state: 'detached' });
  };

  await clock('browser: a running job shows how far it is, and stops when it is cancelled', async () => {
    await start('register', { finest_mm: '0.2', samples: '4000000' });
    await page.waitForSelector('.job[data-job=register][data-state=running] [role=progressbar]', jobs);
    await page.waitForFunction(() => /\d+ % · \S+.* · \d+ s/.test(document.querySelector('[data-testid=job-stage]')?.textContent ?? ''), null, jobs);
    const of = await page.locator('.job[data-job=register] [data-testid=job-of]').first().innerText();
    check(/^of CT · .+, \d+×\d+×\d+ and MR · .+, \d+×\d+×\d+$/.test(of), `a running job names its scans: ${of}`);
    await shot('40-running');
    await page.locator('.job[data-job=register] button:has-text("Cancel")').click();
    const ended = page.locator('.jobs-ended .job[data-job=register][data-state=cancelled]');
    await ended.waitFor({ state: 'attached', ...jobs });
    await page.click('.jobs-ended summary');
    check(/Cancelled/.test(await ended.innerText()) && (await page.locator('.jobs-open .job').count()) === 0, 'it is listed as cancelled');
    await shot('41-cancelled');
    await page.click('.jobs-ended summary');
  });

  await clock('browser: a job that fails says why in plain words, and can be tried again', async () => {
    await start('segment.bone', { threshold_hu: '3900', seed_hu: '3950' });
    const failed = page.locator('.jobs-open .job[data-job="segment.bone"][data-state=failed]');
    await failed.waitFor(jobs);
    const toast = page.locator('.toast.error');
    // By its button, unless it has gone by itself meanwhile.
    const dismiss = async () => {
      await page.evaluate(() => document.querySelector('.toast.error button')?.click());
      await toast.waitFor({ state: 'detached' });
    };
    await toast.waitFor(jobs);
    check(/No bone was found/.test(await failed.innerText()) && /No bone was found/.test(await toast.innerText()), await failed.innerText());
    check(/of CT · .+, \d+×\d+×\d+/.test(await failed.innerText()), `a failed job names its scan: ${await failed.innerText()}`);
    await shot('42-failed');
    await dismiss();
    await until('the case to ask for attention', patience, async () => /attention/.test(await text('.case-bar')));
    const answer = page.waitForResponse((response) => /\/jobs\/[^/]+\/retry$/.test(response.url()));
    await failed.locator('button:has-text("Try again")').click();
    check((await answer).ok(), 'the server takes it');
    // It fails for the same reason again, and says so again.
    await toast.waitFor(jobs);
    await failed.waitFor(jobs);
    await dismiss();
    await failed.locator('button:has-text("Other settings")').click();
    await page.waitForSelector('form.run');
    check((await page.inputValue('[data-testid=run-choice]')) === 'kind:segment.bone', 'the form starts with the job that failed');
    await page.keyboard.press('Escape');
    await page.waitForSelector('form.run', { state: 'detached' });
    await until('the case to ask for attention again', patience, async () => /attention/.test(await text('.case-bar')));
  });

  await clock('browser: a failure is dismissed by keyboard, and the case asks for attention no more', async () => {
    await page.locator('.jobs-open button[aria-label^="Dismiss"]').focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('.case-bar .state-ready');
    // The row is with those that ended, and the focus goes there with it.
    await page.waitForFunction(() => document.activeElement.matches('.jobs-ended summary'));
    check((await page.locator('.jobs-open .job').count()) === 0, 'nothing is open');
    await page.keyboard.press('Enter');
    const row = page.locator('.jobs-ended .job[data-job="segment.bone"][data-state=failed]');
    check(/Dismissed/.test(await row.innerText()) && await row.locator('button:has-text("Try again")').isVisible(), await row.innerText());
    await shot('43-dismissed');
    await page.keyboard.press('Enter');
  });
}

// A disk that fills up: senders are told, jobs wait or die with a reason, and after room is made everything goes on.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kerf, bin, check, finish, run, scratch, skip, test, until } from '../lib/kerf.mjs';

if (process.getuid() !== 0) {
  skip('a_full_disk_refuses_and_recovers', 'only root can mount a small file system');
  finish();
}
const folder = scratch('kerf-full.');
const study = join(folder, 'study');
const small = join(folder, 'small');
mkdirSync(small);
try {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=320m,mode=755', 'tmpfs', small], { stdio: 'ignore' });
} catch {
  skip('a_full_disk_refuses_and_recovers', 'this system does not let us mount');
  rmSync(folder, { recursive: true, force: true });
  finish();
}

await test('a_full_disk_refuses_and_recovers', async () => {
  const made = await run(join(bin, 'kerf'), ['phantom', 'head', '--out', study, '--size', '128x128x128', '--spacing', '1.6x1.6x1.6']);
  check(made.code === 0, made.output);
  const kerf = await Kerf.start({ folder: small });
  try {
    const send = () => run(join(bin, 'kerf'), ['import', study, '--to', `KERF@127.0.0.1:${kerf.ready.dicom.port}`]);
    kerf.adminToken = kerf.token();
    // All but a few MiB go: enough for the database to say so, not for the study.
    const { bavail, bsize } = statfsSync(small);
    writeFileSync(join(small, 'ballast'), Buffer.alloc(bavail * bsize - (2 << 20)));
    const refused = await send();
    check(refused.code !== 0, 'a full disk took a whole study');
    const told = JSON.parse(refused.output.trim().split('\n').filter((l) => l.startsWith('{')).at(-1));
    rmSync(join(small, 'ballast'));
    await until('the database is back', 180000, async () => kerf.get('/api/v1/cases'));
    const cases = await kerf.all('/api/v1/cases');
    const kept = cases.length ? (await kerf.get(`/api/v1/cases/${cases[0].id}`)).counts.instances : 0;
    check(kept >= told.sent, `${told.sent} were acknowledged, ${kept} are there`);
    const sent = await until('the study gets through', 180000, async () => {
      const result = await send();
      return result.code === 0 && JSON.parse(result.output.trim().split('\n').at(-1)).sent;
    }, 1000);
    const [only] = await until('the case', 120000, async () => kerf.all('/api/v1/cases'));
    let settled = await kerf.settled(only.id);
    for (const job of (await kerf.all(`/api/v1/cases/${only.id}/jobs`)).filter((j) => ['dead', 'failed'].includes(j.state)))
      await fetch(`${kerf.url}/api/v1/jobs/${job.id}/retry`, { method: 'POST', headers: { authorization: `Bearer ${kerf.adminToken}` } });
    settled = await kerf.settled(only.id);
    check(settled.counts.instances === sent && settled.counts.meshes > 0, JSON.stringify(settled.counts));
  } finally {
    await kerf.stop();
  }
});
execFileSync('umount', ['-l', small]);
rmSync(folder, { recursive: true, force: true });
finish();

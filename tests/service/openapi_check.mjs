// Holds recorded exchanges against api/openapi.yaml: `node tests/service/openapi_check.mjs FILE…`. A file is JSON, an array
// of exchanges as in api/conformance.mjs (what the browser tests record). Without a file: what the interface itself must
// keep (the generated route table, the fixtures).
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { conformance } from './api_client.mjs';

const api = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'api');
let failed = false;

function step(name, args) {
  try {
    process.stdout.write(execFileSync(process.execPath, args, { cwd: api, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
    console.log(`pass ${name}`);
  } catch (error) {
    failed = true;
    console.log(`${error.stdout ?? ''}${error.stderr ?? error}\nFAIL ${name}`);
  }
}

const files = process.argv.slice(2);
// The kinds that the server checks requests by are those of the program that runs them.
function kindsMatch() {
  const program = join(process.env.KERF_BIN ?? join(api, '..', 'build', 'release', 'bin'), 'kerf-job');
  const told = execFileSync(program, ['--describe'], { encoding: 'utf8' });
  if (told === readFileSync(join(api, 'job_kinds.json'), 'utf8')) console.log('pass job_kinds_match_the_jobs');
  else {
    failed = true;
    console.log('  api/job_kinds.json is not what `kerf-job --describe` says: write it again\nFAIL job_kinds_match_the_jobs');
  }
}

if (files.length === 0) {
  kindsMatch();
  step('route_table_matches_the_interface', ['generate.mjs', '--check']);
  step('fixtures_match_the_interface', ['fixtures.mjs']);
}
for (const file of files) {
  const exchanges = JSON.parse(readFileSync(file, 'utf8'));
  const problems = exchanges.flatMap((exchange) => conformance.check(exchange));
  for (const problem of problems) console.log(`  ${problem}`);
  failed ||= problems.length > 0;
  console.log(`${problems.length ? 'FAIL' : 'pass'} openapi_check ${file} (${exchanges.length} exchanges)`);
}
process.exit(failed ? 1 : 0);

// Checked-in bodies against the schemas: fixtures/valid/SCHEMA.json and fixtures/invalid/SCHEMA.json, each an object of
// named bodies. Every schema that a request or an answer uses must have both.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Conformance } from './conformance.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const api = new Conformance();
let failures = 0;

function fail(name, why) {
  failures++;
  console.log(`  ${why}\nFAIL ${name}`);
}

function bodies(kind, schema) {
  const path = join(here, 'fixtures', kind, `${schema}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
}

// Schemas that stand directly in a request or response body.
function usedSchemas() {
  const used = new Set();
  const visit = (node) => {
    if (node && typeof node === 'object') {
      if (node.schema?.$ref && !node.in) used.add(node.schema.$ref.split('/').pop());
      Object.values(node).forEach(visit);
    }
  };
  visit(api.api.paths);
  visit(api.api.components.responses);
  return [...used].filter((name) => api.api.components.schemas[name].type !== 'string');
}

for (const schema of usedSchemas()) {
  const valid = Object.entries(bodies('valid', schema));
  const invalid = Object.entries(bodies('invalid', schema));
  if (!valid.length || !invalid.length) fail(`fixtures_${schema}`, 'there must be a valid and an invalid body');
}
for (const kind of ['valid', 'invalid']) {
  for (const file of readdirSync(join(here, 'fixtures', kind))) {
    const schema = file.replace(/\.json$/, '');
    const check = api.schema(schema);
    const wrong = Object.entries(bodies(kind, schema)).filter(([, body]) => check(body) !== (kind === 'valid'));
    if (wrong.length) fail(`fixtures_${kind}_${schema}`, `${wrong.map(([name]) => name).join(', ')}: ${JSON.stringify(check.errors)}`);
    else console.log(`pass fixtures_${kind}_${schema}`);
  }
}
process.exit(failures ? 1 : 0);

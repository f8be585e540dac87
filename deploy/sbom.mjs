// Turns the linked Debian packages (tab separated: name, version, homepage, source) and web/'s production packages into
// a CycloneDX bill of materials and a notices file. Deterministic: no time, no random serial number.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';

const [linkedFile, web, out] = process.argv.slice(2);

function debianComponents() {
  return readFileSync(linkedFile, 'utf8').trim().split('\n').filter(Boolean).map((line) => {
    const [name, version, homepage, source] = line.split('\t');
    const copyright = `/usr/share/doc/${name}/copyright`;
    const text = existsSync(copyright) ? readFileSync(copyright, 'latin1') : '';
    const licences = [...new Set([...text.matchAll(/^License:\s*(\S.*)$/gm)].map((m) => m[1].trim()))].sort();
    return { type: 'library', name, version, homepage, source, licences, text, purl: `pkg:deb/debian/${name}@${version}?distro=debian-12` };
  });
}

// What the bundle can contain: the dependencies (not the development dependencies) and theirs.
function webComponents() {
  const lock = join(web, 'package-lock.json');
  if (!existsSync(lock)) return [];
  const { packages } = JSON.parse(readFileSync(lock, 'utf8'));
  return Object.entries(packages)
    .filter(([path, entry]) => path.startsWith('node_modules/') && !entry.dev && !entry.optional)
    .map(([path, entry]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      const folder = join(web, path);
      const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license', 'LICENCE'].map((f) => join(folder, f)).find(existsSync);
      return {
        type: 'library', name, version: entry.version, licences: entry.license ? [entry.license] : [],
        text: file ? readFileSync(file, 'utf8') : '', purl: `pkg:npm/${name.replace('@', '%40')}@${entry.version}`,
      };
    });
}

const components = [...debianComponents(), ...webComponents()].sort((a, b) => (a.purl < b.purl ? -1 : 1));
const bom = {
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  metadata: { component: { type: 'application', name: 'kerf', version: process.env.KERF_VERSION, licenses: [{ license: { id: 'Apache-2.0' } }] } },
  components: components.map((c) => ({
    type: c.type, name: c.name, version: c.version, purl: c.purl,
    ...(c.licences.length ? { licenses: c.licences.map((name) => ({ license: { name } })) } : {}),
    ...(c.homepage ? { externalReferences: [{ type: 'website', url: c.homepage }] } : {}),
    ...(c.text ? { properties: [{ name: 'kerf:licence-text-sha256', value: createHash('sha256').update(c.text).digest('hex') }] } : {}),
  })),
};
writeFileSync(join(out, 'sbom.cdx.json'), JSON.stringify(bom, null, 2) + '\n');

const seen = new Map();
for (const c of components) {
  const key = c.text.trim() || `Licence: ${c.licences.join(', ') || 'see the package'}`;
  seen.set(key, [...(seen.get(key) ?? []), `${c.name} ${c.version}`]);
}
let notices = 'Kerf uses the following software of others.\n';
for (const [text, names] of seen) notices += `\n${'='.repeat(100)}\n${names.join('\n')}\n${'-'.repeat(100)}\n${text}\n`;
writeFileSync(join(out, 'NOTICES.txt'), notices);

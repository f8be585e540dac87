// What the accuracy tables share: running the tools, a scratch folder that goes away, Markdown tables with gates.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const bin = process.env.KERF_BIN ?? 'build/release/bin';
export const data = process.env.KERF_TEST_DATA || null;

// Runs a Kerf program; gives {code, stdout, stderr} instead of throwing, since a refusal is a result here.
export function tool(name, args) {
    try {
        const stdout = execFileSync(join(bin, name), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 });
        return { code: 0, stdout, stderr: '' };
    } catch (e) {
        return { code: e.status ?? -1, stdout: String(e.stdout ?? ''), stderr: String(e.stderr ?? '') };
    }
}

// The same, for a call that must succeed.
export function must(name, args) {
    const r = tool(name, args);
    if (r.code !== 0) throw new Error(`${name} ${args[0]} failed (${r.code}): ${r.stderr.trim().split('\n').pop()}`);
    return r.stdout;
}

export async function withScratch(work) {
    const dir = mkdtempSync(join(tmpdir(), 'kerf-accuracy-'));
    try {
        return await work(dir);
    } finally {
        rmSync(dir, { recursive: true, force: true });
    }
}

export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

// A table that knows its gates: row(cells, ok) adds a line; write() puts the page beside the script and says whether
// every gated figure held. A figure that is missing or not a number never holds.
export class Table {
    #lines = [];
    #failed = [];
    constructor(title, intro) {
        this.#lines.push(`# ${title}`, '', intro, '');
    }
    section(title, heads) {
        this.#lines.push(`## ${title}`, '', `| ${heads.join(' | ')} |`, `|${heads.map(() => '---').join('|')}|`);
    }
    row(cells, ok = true) {
        this.#lines.push(`| ${cells.join(' | ')} |`);
        if (ok !== true) this.#failed.push(cells.join(' '));
    }
    text(line) {
        this.#lines.push('', line, '');
    }
    write(path) {
        writeFileSync(path, `${this.#lines.join('\n').replace(/\n{3,}/g, '\n\n')}\n`);
        for (const line of this.#failed) console.error(`out of bounds: ${line}`);
        return this.#failed.length === 0;
    }
}

export const atLeast = (value, bound) => Number.isFinite(value) && value >= bound;
export const atMost = (value, bound) => Number.isFinite(value) && value <= bound;
export const fixed = (value, digits = 3) => (Number.isFinite(value) ? value.toFixed(digits) : 'none');

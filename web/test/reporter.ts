// One line per test, "pass NAME" or "FAIL NAME", as tests/run counts them.
import type { Reporter } from 'vitest/reporters';
import type { TestCase } from 'vitest/node';

export default class LineReporter implements Reporter {
  onTestCaseResult(test: TestCase): void {
    const result = test.result();
    const name = `web ${test.fullName}`;
    if (result.state === 'passed') console.log(`pass ${name}`);
    else if (result.state === 'skipped') console.log(`skip ${name}: ${result.note ?? 'marked so'}`);
    else {
      for (const error of result.errors ?? []) console.log(`  ${(error.stack ?? error.message).replaceAll('\n', '\n  ')}`);
      console.log(`FAIL ${name}`);
    }
  }
}

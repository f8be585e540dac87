// One line per test, "pass NAME" or "FAIL NAME", as tests/run counts them.
import type { Reporter } from 'vitest/reporters';
import type { TestCase, TestModule } from 'vitest/node';

export default class LineReporter implements Reporter {
  /** A file that cannot even be loaded has no test cases: it fails under its own name. */
  onTestModuleEnd(module: TestModule): void {
    if (module.state() !== 'failed' || [...module.children.allTests()].length > 0) return;
    for (const error of module.errors()) console.log(`  ${(error.stack ?? error.message).replaceAll('\n', '\n  ')}`);
    console.log(`FAIL web ${module.moduleId}`);
  }

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

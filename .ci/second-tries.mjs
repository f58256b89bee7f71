// A reporter of vitest: writes the tests that failed once and then passed into the file that SECOND_TRIES names, with the
// error of the first try. Such a test waits for too little, or has found a fault that is rare: neither may be forgotten.
// It also prints the errors of a test when it has failed, so that a run that is ended before its summary says why.
import { appendFileSync } from "node:fs";

/** Characters of what was expected and received. */
const DIFF_MAX = 4_000;

export default class SecondTries {
  onTestCaseResult(test) {
    const { state, errors = [] } = test.result();
    if (state === "failed")
      for (const { stack, message, diff = "" } of errors)
        process.stderr.write(
          `failed: ${test.module.relativeModuleId} > ${test.fullName}\n${stack ?? message}\n${diff.slice(0, DIFF_MAX)}\n`,
        );
    if (!test.diagnostic()?.flaky) return;
    const [first] = errors;
    const lines = [`passed on its second try: ${test.module.relativeModuleId} > ${test.fullName}`];
    if (first !== undefined) lines.push(`  at first: ${first.message.split("\n").slice(0, 3).join(" ")}`);
    appendFileSync(process.env.SECOND_TRIES, `${lines.join("\n")}\n`);
  }
}

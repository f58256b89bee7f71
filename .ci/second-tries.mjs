// A reporter of vitest: writes the tests that failed once and then passed into the file that SECOND_TRIES names, with the
// error of the first try. Such a test waits for too little, or has found a fault that is rare: neither may be forgotten.
import { appendFileSync } from "node:fs";

export default class SecondTries {
  onTestCaseResult(test) {
    if (!test.diagnostic()?.flaky) return;
    const [first] = test.result().errors ?? [];
    const lines = [`passed on its second try: ${test.module.relativeModuleId} > ${test.fullName}`];
    if (first !== undefined) lines.push(`  at first: ${first.message.split("\n").slice(0, 3).join(" ")}`);
    appendFileSync(process.env.SECOND_TRIES, `${lines.join("\n")}\n`);
  }
}

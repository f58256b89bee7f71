// Reads the JSON report of vitest: the slowest files, what failed, and last "N passed, N failed".
import { readFileSync } from "node:fs";
import { relative } from "node:path";

const [, , reportFile, failedSteps] = process.argv;

function readReport() {
  try {
    return JSON.parse(readFileSync(reportFile, "utf8"));
  } catch {
    // The tests did not get as far as a report; the failed step says so already.
    return { testResults: [], numPassedTests: 0, numFailedTests: 0, numPendingTests: 0 };
  }
}

const report = readReport();
const print = (line) => process.stdout.write(`${line}\n`);
const nameOf = (file) => relative(process.cwd(), file.name);

const slowest = report.testResults
  .map((file) => ({ name: nameOf(file), seconds: (file.endTime - file.startTime) / 1_000 }))
  .sort((a, b) => b.seconds - a.seconds)
  .slice(0, 10);
for (const { name, seconds } of slowest) print(`${seconds.toFixed(1).padStart(7)} s  ${name}`);

// A file that cannot even be loaded holds no failed test, and a failed step may hold none either.
const unloaded = report.testResults.filter(
  (file) => file.status === "failed" && file.assertionResults.length === 0,
);
for (const file of unloaded) print(`could not be run: ${nameOf(file)}`);
for (const file of report.testResults) {
  for (const test of file.assertionResults) {
    if (test.status === "failed") print(`failed: ${nameOf(file)} > ${test.fullName}`);
  }
}
if (report.numPendingTests > 0) print(`${report.numPendingTests} skipped`);

const failedTests = report.numFailedTests + unloaded.length;
const failed = Math.max(failedTests, Number(failedSteps));
print(`${report.numPassedTests} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

/** Programs and packages that some tests need. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { TestContext } from "vitest";

/** Where Debian keeps servers, which is not on everybody's PATH. */
const MORE = ["/usr/sbin", "/usr/local/sbin"];

/** The path of a program; `undefined` where it is not installed. */
export function installed(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...MORE];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

/**
 * Whether tests that need these programs are to be skipped: never where the CI runs, which installs what it lacks
 * (.ci/run), so that nothing is left out there unnoticed.
 */
export const isWithout = (...programs: readonly string[]) =>
  process.env["CI"] !== "true" && programs.some((program) => installed(program) === undefined);

/**
 * Ends a test that lacks a program or a package: it is skipped, visibly, and fails where the CI runs.
 * @param skip Of the test's context.
 */
export function skipWithout(skip: TestContext["skip"], missing: string): never {
  if (process.env["CI"] === "true") throw new Error(`${missing}; with CI=true no test is left out`);
  return skip(missing);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

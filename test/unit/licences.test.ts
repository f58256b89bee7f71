/** The licences of all dependencies, out of the lockfile. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";
import {
  ALLOWED,
  installedLicence,
  isAllowed,
  type LockedPackage,
  licenceProblems,
} from "../support/licences.ts";

const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
  packages: Record<string, LockedPackage>;
};

test("every dependency has a licence that fits Apache-2.0", () => {
  expect(Object.keys(packages).length).toBeGreaterThan(100);
  expect(licenceProblems(packages, installedLicence)).toEqual([]);
});

const problems = (locked: LockedPackage, found?: string) =>
  licenceProblems(
    { "": {}, "node_modules/a/node_modules/@b/c": { version: "1.0.0", ...locked } },
    () => found,
  );

test("a licence that does not fit is named with the package and what to do", () => {
  expect(problems({ license: "GPL-3.0-only" })).toEqual([
    expect.stringMatching(
      /^@b\/c 1\.0\.0: GPL-3\.0-only\. Allowed for what is shipped: 0BSD, .* Use another package/,
    ),
  ]);
});

test.each([
  [{ license: "MIT" }, true],
  [{ license: "MPL-2.0" }, false],
  [{ license: "MPL-2.0", dev: true }, true],
  [{ license: "AGPL-3.0", dev: true }, false],
  [{ license: "UNLICENSED" }, false],
  [{ license: "SEE LICENSE IN LICENSE.md" }, false],
  [{}, false],
  [{ dev: true }, false],
])("%o is fine: %s", (locked, isFine) => expect(problems(locked)).toHaveLength(isFine ? 0 : 1));

test("a package whose licence the lockfile does not name is looked up where it is installed", () => {
  expect(problems({}, "MIT")).toEqual([]);
  expect(problems({}, "GPL-2.0")).toHaveLength(1);
});

test.each([
  ["MIT OR GPL-3.0", true],
  ["(GPL-3.0 OR MIT)", true],
  ["MIT AND ISC", true],
  ["MIT AND GPL-3.0", false],
  ["GPL-2.0 OR GPL-3.0", false],
  ["MIT WITH something", false],
  ["(MIT AND (GPL-3.0 OR ISC))", false],
  ["", false],
])("the expression %s is allowed: %s", (expression, expected) => {
  expect(isAllowed(expression, ALLOWED.shipped)).toBe(expected);
});

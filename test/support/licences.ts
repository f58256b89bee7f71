/** Which licences the dependencies may have: those that fit work under the Apache License 2.0. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./build.ts";

const PERMISSIVE = [
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
  "Python-2.0",
  "Unlicense",
];

/** Of tools, nothing is shipped: copyleft that ends at the file's border is fine for them. */
export const ALLOWED = { shipped: PERMISSIVE, tool: [...PERMISSIVE, "MPL-2.0"] } as const;

/** An entry of `packages` in package-lock.json, as far as it matters here. */
export interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly link?: boolean;
}

/**
 * One line per package whose licence is not allowed.
 * @param licenceOf Reads the licence of an installed package; used where the lockfile does not say it.
 */
export function licenceProblems(
  packages: Readonly<Record<string, LockedPackage>>,
  licenceOf: (path: string) => string | undefined,
): string[] {
  return Object.entries(packages).flatMap(([path, { version, license, dev, devOptional, link }]) => {
    if (path === "" || link === true) return [];
    const use = dev === true || devOptional === true ? "tool" : "shipped";
    const licence = license ?? licenceOf(path);
    if (licence !== undefined && isAllowed(licence, ALLOWED[use])) return [];
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    const found = licence ?? "no licence that it names";
    return [
      `${name} ${version}: ${found}. Allowed for ${use === "tool" ? "tools" : "what is shipped"}: ${ALLOWED[use].join(", ")}. ` +
        "Use another package, or, if the licence fits Apache-2.0, add it to test/support/licences.ts",
    ];
  });
}

/** An SPDX expression: of `OR` one part has to be allowed, of `AND` each. */
export function isAllowed(expression: string, allowed: readonly string[]): boolean {
  const inner = /^\((.*)\)$/.exec(expression.trim())?.[1] ?? expression.trim();
  // A nested expression would need a parser; none of the dependencies has one, and it is refused.
  if (/[()]/.test(inner)) return false;
  return inner.split(/ OR /i).some((part) => part.split(/ AND /i).every((id) => allowed.includes(id.trim())));
}

/** The licence in an installed package's own package.json, in the old spelling, too. */
export function installedLicence(path: string): string | undefined {
  try {
    const { license, licenses } = JSON.parse(readFileSync(join(ROOT, path, "package.json"), "utf8"));
    return license?.type ?? license ?? licenses?.map(({ type }: { type: string }) => type).join(" OR ");
  } catch {
    return undefined; // an optional package that is not installed here
  }
}

/** The client for Python as a package: its own tests, its types, and the wheel as users install it. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { skipWithout } from "../../support/installed.ts";
import { interpreters, PYTHON_CLIENT, packagesFor, pythonEnv, pythonWith } from "../../support/python.ts";

const run = promisify(execFile);
const TIMEOUT_MS = 200_000;
const inPackage = (env: Record<string, string>) => ({
  cwd: PYTHON_CLIENT,
  env: { ...process.env, ...env },
  timeout: TIMEOUT_MS,
});

const INTERPRETERS = interpreters();

/** The least versions of pyproject.toml on the oldest Python, the newest everywhere else. */
const LEAST = ["websockets==15.0", "pymongo==4.9"];
const NEWEST = ["websockets>=15", "pymongo>=4.9"];

test("there is a Python for which the client is made", ({ skip }) => {
  if (INTERPRETERS.size === 0) skipWithout(skip, "no Python from 3.10 to 3.13");
});

test.for([...INTERPRETERS])(
  "the client's own tests pass on Python %s",
  async ([version, python], { skip }) => {
    const found = await packagesFor(python, ...(version === "3.10" ? LEAST : NEWEST));
    if ("missing" in found) return skipWithout(skip, found.missing);
    const args = ["-W", "error", "-m", "unittest", "discover", "-s", "tests", "-t", "."];
    const { stderr } = await run(python, args, inPackage(pythonEnv(found.folder)));
    expect(stderr).toMatch(/Ran \d{2,} tests/);
  },
);

test("mypy finds nothing to say about the package and its tests, as strictly as it can", async ({ skip }) => {
  const found = await pythonWith("websockets>=15", "pymongo>=4.9", "mypy==2.4.1");
  if ("missing" in found) return skipWithout(skip, found.missing);
  const cache = await folder();
  const { stdout } = await run(found.python, ["-m", "mypy", "--cache-dir", cache], inPackage({}));
  expect(stdout).toMatch(/^Success: no issues found in \d+ source files/);
});

test("the version is that of the service", () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  const text = readFileSync(join(PYTHON_CLIENT, "src", "tidewire", "_version.py"), "utf8");
  expect(text).toBe(`__version__ = "${version}"\n`);
  expect(readFileSync(join(PYTHON_CLIENT, "LICENSE"), "utf8")).toBe(
    readFileSync(join(ROOT, "LICENSE"), "utf8"),
  );
});

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "tidewire-python-"));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

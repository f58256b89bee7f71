/** Python for third-party clients and our own. Packages are installed once, into a folder that `npm ci` clears. */
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./build.ts";
import { installOnce } from "./install-once.ts";
import { installed } from "./installed.ts";

const run = promisify(execFile);
const CACHE = join(ROOT, "node_modules", ".cache", "tidewire-python");
const INSTALL_TIMEOUT_MS = 180_000;
/** The versions for which the client is made. */
const VERSIONS = ["3.10", "3.11", "3.12", "3.13"];

/** The folder of the client for Python. */
export const PYTHON_CLIENT = join(ROOT, "clients", "python");

/** Lets Python find the client's source, and write nothing beside it. */
export const pythonEnv = (...more: readonly string[]) => ({
  PYTHONPATH: [join(PYTHON_CLIENT, "src"), ...more].join(":"),
  PYTHONDONTWRITEBYTECODE: "1",
});

/** A Python that has these packages; a text that says why there is none. */
export async function pythonWith(
  ...packages: readonly string[]
): Promise<{ python: string } | { missing: string }> {
  const directory = directoryOf("venv", packages);
  try {
    await installOnce(directory, async (folder) => {
      await run("python3", ["-m", "venv", folder], { timeout: INSTALL_TIMEOUT_MS });
      await run(pythonIn(folder), [...INSTALL, ...packages], { timeout: INSTALL_TIMEOUT_MS });
    });
    return { python: pythonIn(directory) };
  } catch (error) {
    return { missing: `no python3 with ${packages.join(", ")}: ${firstLineOf(error)}` };
  }
}

/**
 * Installs packages for an interpreter into a folder of their own, which is quicker than an environment.
 * @returns The folder, for `PYTHONPATH`; a text that says why there is none.
 */
export async function packagesFor(
  python: string,
  ...packages: readonly string[]
): Promise<{ folder: string } | { missing: string }> {
  const directory = directoryOf("packages", [python, ...packages]);
  try {
    await installOnce(directory, (folder) =>
      run(python, [...INSTALL, "--target", folder, ...packages], { timeout: INSTALL_TIMEOUT_MS }),
    );
    return { folder: directory };
  } catch (error) {
    return { missing: `${python} without ${packages.join(", ")}: ${firstLineOf(error)}` };
  }
}

/** The interpreters of this machine for which the client is made, by their versions: those of the path, and of pyenv. */
export function interpreters(): Map<string, string> {
  const pyenv = join(process.env["PYENV_ROOT"] ?? join(homedir(), ".pyenv"), "versions");
  const ofPyenv = namesIn(pyenv);
  const found = new Map<string, string>();
  for (const version of VERSIONS) {
    const name = ofPyenv.findLast((one) => one.startsWith(`${version}.`));
    const path =
      name === undefined ? installed(`python${version}`) : join(pyenv, name, "bin", `python${version}`);
    if (path !== undefined && starts(path)) found.set(version, path);
  }
  return found;
}

/** A command of pyenv is there for each version, and refuses all but those that are chosen. */
function starts(python: string): boolean {
  const { status } = spawnSync(python, ["--version"]);
  return status === 0;
}

const INSTALL = ["-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "10"];

const directoryOf = (kind: string, names: readonly string[]) =>
  join(CACHE, `${kind}-${createHash("sha256").update(names.join("\n")).digest("hex").slice(0, 16)}`);

const pythonIn = (folder: string) => join(folder, "bin", "python3");

const firstLineOf = (error: unknown) =>
  (error instanceof Error ? error.message : String(error)).split("\n")[0];

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // no pyenv here
  }
}

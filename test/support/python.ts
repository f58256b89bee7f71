/** Python for third-party clients. Its packages are installed once, into a folder that `npm ci` clears. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./build.ts";

const run = promisify(execFile);
const CACHE = join(ROOT, "node_modules", ".cache", "tidewire-python");
const INSTALL_TIMEOUT_MS = 90_000;

/** A Python that has these packages; a text that says why there is none. */
export async function pythonWith(
  ...packages: readonly string[]
): Promise<{ python: string } | { missing: string }> {
  const name = createHash("sha256").update(packages.join("\n")).digest("hex").slice(0, 16);
  const directory = join(CACHE, name);
  const python = join(directory, "bin", "python3");
  const done = join(directory, "installed");
  if (await exists(done)) return { python };
  try {
    await rm(directory, { recursive: true, force: true });
    await mkdir(CACHE, { recursive: true });
    await run("python3", ["-m", "venv", directory], { timeout: INSTALL_TIMEOUT_MS });
    const pip = ["-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "10", ...packages];
    await run(python, pip, { timeout: INSTALL_TIMEOUT_MS });
    await mkdir(done);
    return { python };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { missing: `no python3 with ${packages.join(", ")}: ${reason}` };
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

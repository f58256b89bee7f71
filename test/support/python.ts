/** Python for third-party clients. Its packages are installed once, into a folder that `npm ci` clears. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./build.ts";
import { installOnce } from "./install-once.ts";

const run = promisify(execFile);
const CACHE = join(ROOT, "node_modules", ".cache", "tidewire-python");
const INSTALL_TIMEOUT_MS = 90_000;

/** A Python that has these packages; a text that says why there is none. */
export async function pythonWith(
  ...packages: readonly string[]
): Promise<{ python: string } | { missing: string }> {
  const name = createHash("sha256").update(packages.join("\n")).digest("hex").slice(0, 16);
  const directory = join(CACHE, name);
  try {
    await installOnce(directory, async (folder) => {
      await run("python3", ["-m", "venv", folder], { timeout: INSTALL_TIMEOUT_MS });
      const pip = ["-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "10", ...packages];
      await run(pythonIn(folder), pip, { timeout: INSTALL_TIMEOUT_MS });
    });
    return { python: pythonIn(directory) };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { missing: `no python3 with ${packages.join(", ")}: ${reason}` };
  }
}

const pythonIn = (folder: string) => join(folder, "bin", "python3");

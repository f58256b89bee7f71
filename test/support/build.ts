/** Compiles `src/` into `dist/`, for tests that run the service as a process of its own. */
import { spawn } from "node:child_process";
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exited } from "./guard.ts";

export const ROOT = new URL("../..", import.meta.url).pathname;

const STAMP = join(ROOT, "dist", ".built");

/**
 * Nothing is done where no source is newer than the last build. Code that does not type-check is compiled all
 * the same, so that a test can run beside work in progress elsewhere; `npm test` builds first and stops there.
 */
export async function buildIfStale(): Promise<void> {
  if ((await modifiedAtMs(STAMP)) > (await newestSourceMs())) return;
  const npm = spawn("npm", ["run", "--silent", "prepack"], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const { code } = await exited(npm);
  if (code === 0) await writeFile(STAMP, "");
  else console.warn("npm run build failed; the tests use what it could compile");
}

async function newestSourceMs(): Promise<number> {
  const files = await readdir(join(ROOT, "src"), { recursive: true });
  const times = await Promise.all(files.map((file) => modifiedAtMs(join(ROOT, "src", file))));
  return Math.max(...times);
}

async function modifiedAtMs(path: string): Promise<number> {
  const file = await stat(path).catch(() => undefined);
  return file?.mtimeMs ?? Number.NEGATIVE_INFINITY;
}

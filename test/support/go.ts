/** Go for the client of examples/go. Each program is built once for its sources, into a folder that `npm ci` clears. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./build.ts";
import { installOnce } from "./install-once.ts";
import { installed } from "./installed.ts";

const run = promisify(execFile);
const CACHE = join(ROOT, "node_modules", ".cache", "tidewire-go");
const BUILD_TIMEOUT_MS = 200_000;

/** Runs the command `go` in a folder of the repository, with the modules and the compiler's results that Go keeps. */
export async function go(folder: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run(installed("go") ?? "go", args, {
    cwd: join(ROOT, folder),
    env: { ...process.env, GOFLAGS: "-buildvcs=false" },
    timeout: BUILD_TIMEOUT_MS,
  });
  return stdout;
}

/**
 * Builds a program of a module.
 * @param module The folder of go.mod, from the root of the repository.
 * @param name The folder of the program in it.
 * @returns Its path; a text that says why there is none.
 */
export async function goProgram(
  module: string,
  name: string,
): Promise<{ program: string } | { missing: string }> {
  if (installed("go") === undefined) return { missing: "go is not installed" };
  const hash = createHash("sha256");
  for (const file of readdirSync(join(ROOT, module), { recursive: true, encoding: "utf8" }).sort())
    if (/\.go$|go\.(mod|sum)$/.test(file))
      hash.update(`${file}\n${readFileSync(join(ROOT, module, file), "utf8")}`);
  const directory = join(CACHE, `${name}-${hash.digest("hex").slice(0, 16)}`);
  await installOnce(directory, async (folder) => {
    await go(module, "build", "-o", join(folder, name), `./${name}`);
  });
  return { program: join(directory, name) };
}

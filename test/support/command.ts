import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { runCli } from "../../src/cli/run-cli.ts";
import type { Io } from "../../src/terminal/io.ts";

/**
 * Runs a command line in this process.
 * @returns Its exit code, and the lines that it printed to each output.
 */
export async function runCommand(argv: readonly string[], given: Partial<Io> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const io: Io = {
    out: (text) => void out.push(text),
    err: (text) => void err.push(text),
    env: {},
    now: Date.now,
    ...given,
  };
  const code = await runCli(argv, io);
  return { code, out: out.join("\n"), err: err.join("\n") };
}

/** Writes a configuration to a file, which is removed after the test. @returns Its path. */
export async function configFile(config: object, name = "tidewire.json"): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-cli-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, name);
  await writeFile(file, JSON.stringify(config));
  return file;
}

/** Runs a command on a configuration in a file of its own. @returns Its exit code, and all lines that it printed. */
export async function runConfigured(config: object, command: string, ...args: readonly string[]) {
  const lines: string[] = [];
  const say = (text: string) => void lines.push(text);
  const argv = [command, "--config", await configFile(config), ...args];
  const { code } = await runCommand(argv, { out: say, err: say });
  return { code, text: lines.join("\n") };
}

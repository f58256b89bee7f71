import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { runCli } from "../../src/cli/run-cli.ts";

/** Runs a command on a configuration in a file of its own. @returns Its exit code, and all lines that it printed. */
export async function runConfigured(file: object, command: string, ...args: readonly string[]) {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-configured-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "tidewire.json");
  await writeFile(path, JSON.stringify(file));
  const lines: string[] = [];
  const say = (text: string) => void lines.push(text);
  const io = { out: say, err: say, env: {}, now: Date.now };
  return { code: await runCli([command, "--config", path, ...args], io), text: lines.join("\n") };
}

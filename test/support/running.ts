/** Commands as people type them, and what they print. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";
import { ROOT } from "./build.ts";
import { endWithUs } from "./guard.ts";
import { testDatabase, until } from "./mongod.ts";

export const MAIN = join(ROOT, "dist", "cli", "main.js");

/** A command that runs until the test has finished, and the lines that it has printed. */
export class Running {
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  readonly errors: string[] = [];

  constructor(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv) {
    this.child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    endWithUs(this.child);
    const { stdout, stderr } = this.child;
    assert(stdout !== null && stderr !== null);
    createInterface({ input: stdout }).on("line", (line) => this.lines.push(line));
    createInterface({ input: stderr }).on("line", (line) => this.errors.push(line));
    onTestFinished(() => void this.child.kill("SIGKILL"));
  }

  /** The first line that fits, of those that come after number `from`. */
  line(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return until(`a line like ${pattern}: ${this.errors.at(-1)}`, async () => {
      const found = this.lines.slice(from).find((line) => pattern.test(line));
      return found === undefined ? undefined : (pattern.exec(found) ?? undefined);
    });
  }
}

export async function emptyDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-demo-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

/** Starts the demo on the shared MongoDB, in a database of the test's own. */
export async function startDemo(args: readonly string[]) {
  const { client, db, name, uri } = await testDatabase();
  onTestFinished(async () => {
    await client.db(`${name}-state`).dropDatabase();
  });
  const directory = await emptyDirectory();
  const env = { ...process.env, MONGODB_URI: uri, TIDEWIRE_DEMO_DATABASE: name, HOME: directory };
  const demo = new Running(process.execPath, [MAIN, "demo", ...args], directory, env);
  return { demo, client, db, name, directory, env };
}

/** A program of another language, whose lines are JSON. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { onTestFinished } from "vitest";
import { endWithUs, exited } from "./guard.ts";

type Line = Record<string, unknown>;

export class Program {
  readonly lines: Line[] = [];
  readonly errors: string[] = [];
  readonly #child: ChildProcess;
  #code: number | null | undefined;

  constructor(command: string, args: readonly string[], env: Record<string, string> = {}) {
    this.#child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    endWithUs(this.#child);
    onTestFinished(() => this.stop());
    this.#child.once("exit", (code) => {
      this.#code = code;
    });
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error("no pipes");
    createInterface({ input: stdout }).on("line", (line) => {
      this.lines.push(JSON.parse(line));
    });
    createInterface({ input: stderr }).on("line", (line) => this.errors.push(line));
  }

  /** `undefined` while it runs, `null` if a signal ended it. */
  get code(): number | null | undefined {
    return this.#code;
  }

  ofType(type: string): Line[] {
    return this.lines.filter((line) => line["type"] === type);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async stop(): Promise<void> {
    if (this.#code !== undefined) return;
    this.#child.kill("SIGKILL");
    await exited(this.#child);
  }
}

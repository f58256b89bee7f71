/** The process that drives somebody's client: commands and answers are JSON lines (docs/protocol-kit/README.md). */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { z } from "zod";
import { parseUntrusted } from "../protocol/parse-untrusted.ts";

const change = z.looseObject({ type: z.enum(["snapshot", "added", "changed", "removed"]) });
/** A line of a driver. Fields that the kit does not know are ignored. */
const lineSchema = z.looseObject({
  n: z.number(),
  q: z.string().optional(),
  change: change.optional(),
  status: z.string().optional(),
  stopped: z.looseObject({ code: z.string() }).optional(),
  wants: z.literal("token").optional(),
  answer: z.number().optional(),
  documents: z.array(z.record(z.string(), z.unknown())).optional(),
  failure: z.string().optional(),
});
export type Line = z.output<typeof lineSchema>;

/** The number of the last lines of the standard error that a report shows. */
const KEPT_LINES = 20;

/** One process for all scenarios. */
export class DriverProcess {
  readonly #child: ChildProcess;
  readonly #listeners = new Map<number, (line: Line) => void>();
  readonly #errors: string[] = [];
  #ended: string | undefined;
  #clients = 0;

  /** @param command A command line for the shell. */
  constructor(command: string) {
    // A group of its own, because the shell and `go run` start further processes.
    this.#child = spawn(command, { shell: true, stdio: ["pipe", "pipe", "pipe"], detached: true });
    const { stdin, stdout, stderr } = this.#child;
    if (stdin === null || stdout === null || stderr === null) throw new Error("the driver has no pipes");
    stdin.on("error", () => {}); // the exit says more
    createInterface({ input: stdout }).on("line", (text) => this.#take(text));
    createInterface({ input: stderr }).on("line", (text) => {
      this.#errors.push(text);
      if (this.#errors.length > KEPT_LINES) this.#errors.shift();
    });
    this.#child.once("error", (error) => this.#end(error.message));
    this.#child.once("exit", (code, signal) => this.#end(`it ended with ${code ?? signal}`));
  }

  /** Why no more answers arrive; undefined while the process runs. */
  get ended(): string | undefined {
    if (this.#ended === undefined) return undefined;
    return [`the driver does not run: ${this.#ended}`, ...this.#errors].join("\n");
  }

  /** A number for another client, whose lines the listener receives. */
  client(listener: (line: Line) => void): number {
    const n = ++this.#clients;
    this.#listeners.set(n, listener);
    return n;
  }

  send(command: Readonly<Record<string, unknown>> & { readonly n: number }): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  async stop(): Promise<void> {
    if (this.#ended !== undefined) return;
    const { pid } = this.#child;
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
    await exited;
  }

  #take(text: string): void {
    const line = parse(text);
    if (typeof line === "string") this.#end(`it printed ${text}: ${line}`);
    else this.#listeners.get(line.n)?.(line);
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    for (const listener of this.#listeners.values()) listener({ n: 0 });
  }
}

/** A line, or what is wrong with it. */
function parse(text: string): Line | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return "not JSON";
  }
  const parsed = parseUntrusted(lineSchema, json);
  return parsed.success ? parsed.data : z.prettifyError(parsed.error);
}

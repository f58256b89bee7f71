import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";

const END_WITH_PARENT = new URL("./end-with-parent.js", import.meta.url).href;
const END_LIMIT_MS = 5_000;
const RESTART_AFTER_MS = 300;
/** So many ends soon after a start, and there is no point in going on. */
const FAILURES_MAX = 3;
const SOON_MS = 3_000;
const KEPT_LINES = 5;

/** A process that the demo starts, and starts again whenever it ends. */
export interface ChildOptions {
  /** The script and its arguments; asked for at each start, as they may have changed. */
  readonly command: () => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly logFile: string;
  readonly onLine?: (line: string) => void;
  /** It says something to the demo. */
  readonly onMessage?: (message: unknown) => void;
  /** It ended by itself, or somebody ended it; it is started again. */
  readonly onRestart: (how: string) => void;
  /** It does not stay up: its last lines say why. */
  readonly onFailed: (lastLines: readonly string[]) => void;
}

/** One of the demo's processes: started, started again when it is killed, ended with the demo. */
export class Child {
  readonly #options: ChildOptions;
  readonly #log: WriteStream;
  #process: ChildProcess | undefined;
  #lastLines: string[] = [];
  #failures = 0;
  #wasUp = false;
  #stopping = false;

  constructor(options: ChildOptions) {
    this.#options = options;
    this.#log = createWriteStream(options.logFile);
    this.#start();
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** It works: from now on it is started again when it ends. */
  isUp(): void {
    this.#wasUp = true;
  }

  kill(): void {
    this.#process?.kill("SIGKILL");
  }

  /** Says something to it; one that is just being started again learns it from its command. */
  send(message: object): void {
    if (this.#process?.connected) this.#process.send(message);
  }

  /** Ends it in good order, by force if that takes too long. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#process;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const force = setTimeout(() => child.kill("SIGKILL"), END_LIMIT_MS);
      child.kill("SIGTERM");
      await once(child, "exit");
      clearTimeout(force);
    }
    this.#log.end();
  }

  #start(): void {
    const { command, env, onLine, onMessage } = this.#options;
    const startedAtMs = Date.now();
    // A process group of its own: Ctrl-C in a terminal is for the demo, which then ends the others in order.
    const child = spawn(process.execPath, ["--import", END_WITH_PARENT, ...command()], {
      detached: true,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#process = child;
    for (const output of [child.stdout, child.stderr]) {
      if (output === null) continue;
      createInterface({ input: output }).on("line", (line) => {
        if (!this.#stopping) this.#log.write(`${line}\n`);
        this.#lastLines = [...this.#lastLines.slice(1 - KEPT_LINES), line];
        onLine?.(line);
      });
    }
    if (onMessage !== undefined) child.on("message", onMessage);
    // "close" comes after its last line.
    child.once("close", (code, signal) => {
      if (this.#stopping) return;
      const tooSoon = signal === null && Date.now() - startedAtMs < SOON_MS;
      this.#failures = tooSoon ? this.#failures + 1 : 0;
      this.#ended(signal ?? `exit code ${code}`);
    });
  }

  #ended(how: string): void {
    if (!this.#wasUp || this.#failures >= FAILURES_MAX) {
      this.#stopping = true;
      this.#options.onFailed(this.#lastLines);
      return;
    }
    this.#options.onRestart(how);
    setTimeout(() => {
      if (!this.#stopping) this.#start();
    }, RESTART_AFTER_MS);
  }
}

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";

const END_WITH_PARENT = new URL("./end-with-parent.js", import.meta.url).href;
const END_LIMIT_MS = 5_000;
const RESTART_AFTER_MS = 300;
/** After this number of exits shortly after a start, the demo gives up. */
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
  /** The process sent a message to the demo. */
  readonly onMessage?: (message: unknown) => void;
  /** The process exited or was killed. The demo starts it again. */
  readonly onRestart: (how: string) => void;
  /** The process keeps exiting. Its last lines say why. */
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

  /** Marks the process as working. From now on it is restarted when it exits. */
  isUp(): void {
    this.#wasUp = true;
  }

  kill(): void {
    this.#process?.kill("SIGKILL");
  }

  /** Sends a message to the process. A process that is just restarting receives the same values in its arguments. */
  send(message: object): void {
    if (this.#process?.connected) this.#process.send(message);
  }

  /** Shuts the process down, and kills it if that takes too long. */
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
    // A process group of its own, so that Ctrl-C in a terminal reaches only the demo, which then ends the others in order.
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

/** A client of gRPC for Python as a driver of the table. One process reads the streams of all scenarios. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ROOT } from "../support/build.ts";
import { endWithUs, exited } from "../support/guard.ts";
import { signToken } from "../support/service.ts";
import type { Received } from "../support/ws-client.ts";
import { PATIENCE_MS, ProcessReader } from "./process-reader.ts";
import { type Driver, eventually, type Reader, type ReaderOptions } from "./scenario.ts";

interface Line {
  readonly n: number;
  readonly message?: Received;
  readonly ended?: true;
  readonly failed?: string;
  readonly why?: string;
}
type Now = ReaderOptions & { readonly now: () => Promise<{ readonly t: number; readonly i: number }> };

/** One stream, as its messages show it. */
class GrpcReader extends ProcessReader implements Reader {
  readonly #send: (command: object) => void;
  readonly #now: Now["now"];
  readonly #failed = new Map<string, string>();
  #hasEnded = false;
  #fences = 0;

  constructor(send: (command: object) => void, now: Now["now"]) {
    super(["welcome", "watermark", "fenced", "ticket"]);
    this.#send = send;
    this.#now = now;
  }

  take({ message, ended, failed, why }: Line): void {
    if (message !== undefined) this.all.push(message);
    if (ended === true) this.#hasEnded = true;
    if (failed !== undefined) this.#failed.set(failed, String(why));
  }

  async until(fits: (message: Received) => boolean): Promise<Received> {
    const find = () => this.received.find(fits);
    await eventually(() => find() !== undefined || this.#hasEnded, "a message", PATIENCE_MS);
    const found = find();
    if (found === undefined)
      throw new Error(`the stream has ended: ${JSON.stringify(this.received.slice(-3))}`);
    return found;
  }

  /** Waits for the message in the stream, because the answer to the call may overtake the changes. */
  async settle(): Promise<void> {
    if (this.#hasEnded) return;
    const { t, i } = await this.#now();
    const id = `fence-${++this.#fences}`;
    this.#send({ fence: { t, i }, id });
    const isFenced = () => this.all.some((message) => message.type === "fenced" && message["id"] === id);
    await eventually(() => isFenced() || this.#hasEnded || this.#failed.has(id), "a fence", PATIENCE_MS);
    if (!isFenced() && !this.#hasEnded) throw new Error(`the fence failed: ${this.#failed.get(id)}`);
  }

  async leave(): Promise<void> {
    this.#send({ leave: true });
  }
}

/** A process with the streams. */
export class GrpcClients {
  readonly #child: ChildProcess;
  readonly #readers = new Map<number, GrpcReader>();
  readonly #errors: string[] = [];

  constructor(python: string, stubs: string) {
    this.#child = spawn(python, [join(ROOT, "test", "support", "grpc-reader.py")], {
      env: { ...process.env, PYTHONPATH: stubs, PYTHONDONTWRITEBYTECODE: "1" },
      stdio: ["pipe", "pipe", "pipe"],
    });
    endWithUs(this.#child);
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error("no pipes");
    createInterface({ input: stdout }).on("line", (text) => {
      const line: Line = JSON.parse(text);
      this.#readers.get(line.n)?.take(line);
    });
    createInterface({ input: stderr }).on("line", (line) => this.#errors.push(line));
  }

  get driver(): Driver {
    return {
      name: "grpc",
      options: { server: { grpc: { port: 0 } } },
      follow: async ({ service }, claims, request, { values, now }) => {
        const n = this.#readers.size + 1;
        const reader = new GrpcReader((command) => this.#send({ n, ...command }), now);
        this.#readers.set(n, reader);
        const address = `${service.grpcAddress?.host}:${service.grpcAddress?.port}`;
        const token = claims === null ? null : await signToken(claims);
        this.#send({ n, follow: { address, token, values: values ?? null, request } });
        const errors = () => this.#errors.join("\n");
        await eventually(() => reader.received.length > 0, `an answer; ${errors()}`, PATIENCE_MS);
        return reader;
      },
    };
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    await exited(this.#child);
  }

  #send(command: object): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }
}

/** A client in another language as a driver of the table. One process of its driver runs the clients of all scenarios. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { endWithUs, exited } from "../support/guard.ts";
import { signToken } from "../support/service.ts";
import type { Received } from "../support/ws-client.ts";
import { PATIENCE_MS, ProcessReader } from "./process-reader.ts";
import {
  type Driver,
  eventually,
  held,
  type Reader,
  type ReaderOptions,
  type Request,
  type TransportName,
} from "./scenario.ts";

interface Answer {
  readonly documents?: readonly unknown[];
  readonly complaints?: readonly string[];
  readonly failure?: string;
}
type Line = { readonly n: number; readonly message?: Received; readonly answer?: number } & Answer;
type Now = ReaderOptions & { readonly now: () => Promise<{ readonly t: number; readonly i: number }> };

/** A subscription of a client of its own, as its messages show it. */
class ProgramReader extends ProcessReader implements Reader {
  readonly #send: (command: object) => void;
  readonly #request: Request;
  readonly #now: Now["now"];
  readonly #answers = new Map<number, Answer>();
  #failure: string | undefined;
  #asked = 0;

  constructor(send: (command: object) => void, request: Request, now: Now["now"]) {
    super(["welcome", "watermark", "fenced"]);
    this.#send = send;
    this.#request = request;
    this.#now = now;
  }

  take(line: Line): void {
    if (line.message !== undefined) this.all.push(line.message);
    else if (line.answer !== undefined) this.#answers.set(line.answer, line);
    else this.#failure ??= line.failure;
  }

  async until(fits: (message: Received) => boolean): Promise<Received> {
    const find = () => this.received.find(fits);
    await eventually(() => find() !== undefined || this.#failure !== undefined, "a message", PATIENCE_MS);
    const found = find();
    if (found === undefined) throw new Error(this.#failure);
    return found;
  }

  /** Also compares what the client holds with what its messages give. */
  async settle(): Promise<void> {
    const { t, i } = await this.#now();
    const ask = ++this.#asked;
    this.#send({ ask, fence: { $timestamp: { t, i } } });
    await eventually(() => this.#answers.has(ask), "the answer to a fence", PATIENCE_MS);
    const { documents, complaints, failure } = this.#answers.get(ask) ?? {};
    if (failure !== undefined) throw new Error(failure);
    if (complaints?.length) throw new Error(complaints.join("\n"));
    // A resumption begins with documents that the messages do not name.
    const isWhole = this.#request.snapshot !== false && this.#request.cursor === undefined;
    if (isWhole && this.answer.type === "subscribed" && !isDeepStrictEqual(documents, held(this.received)))
      throw new Error(`the client holds ${JSON.stringify(documents)}`);
  }

  async leave(): Promise<void> {
    this.#send({ leave: true });
  }
}

/** A process with clients in another language (docs/protocol-kit/README.md, "The driver"). */
export class ProgramClients {
  readonly #name: TransportName;
  readonly #child: ChildProcess;
  readonly #readers = new Map<number, ProgramReader>();
  readonly #errors: string[] = [];

  constructor(
    name: TransportName,
    command: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#name = name;
    this.#child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
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
      name: this.#name,
      follow: async ({ service }, claims, request, { values, now }) => {
        const n = this.#readers.size + 1;
        const reader = new ProgramReader((command) => this.#send({ n, ...command }), request, now);
        this.#readers.set(n, reader);
        const url = `http://127.0.0.1:${service.address.port}`;
        const token = claims === null ? null : await signToken(claims);
        this.#send({ n, follow: { url, token, values: values ?? null, request } });
        await eventually(
          () => reader.received.length > 0,
          `an answer; ${this.#errors.join("\n")}`,
          PATIENCE_MS,
        );
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

import type { Server } from "node:http";
import type { Server as NetServer, Socket } from "node:net";
import type { Logger } from "pino";
import { outageOf } from "../admin/outage.ts";
import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import type { Ask } from "../admin/questions.ts";
import type { Readiness } from "../admin/readiness.ts";
import type { Config } from "../config/config.ts";
import { type GuardParts, guarded, runGuarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { StartupError } from "../source/startup-error.ts";
import type { ClientListener, Edit, FromWorker, Requests, RequestType, ToWorker } from "./messages.ts";
import { guardProcess } from "./process-guard.ts";

/** The content of a worker: a node without listeners. */
export interface ServedNode {
  readonly publicServer: Server;
  /** `null` if gRPC is not served. */
  readonly grpcListener: { readonly server: NetServer } | null;
  readonly metrics: Metrics;
  readiness(): Readiness;
  /** Finds out whether an edit can take effect. @returns What lets it. */
  prepare(config: Config): Promise<() => Promise<void>>;
  plan(text: string, gone: AbortSignal): Promise<EditPlan | EditProblems>;
  readonly ask: Ask;
  noteRejectedReload(): void;
  drain(): Promise<void>;
}

/** Starts one node in this process. */
export type StartNode = (config: Config, log: Logger, generation: number) => Promise<ServedNode>;

/** Opens the log of this process. */
export type OpenLog = (config: Config) => Promise<Logger>;

type Answers = { [T in RequestType]: (value: Requests[T]["with"]) => Promise<Requests[T]["gives"]> };

/** Makes this process a worker: it does what its primary asks, and ends when that does. */
export function serveAsWorker(startNode: StartNode, openLog: OpenLog): void {
  // A signal to the whole process group is meant for the primary, which drains the workers. It must not end a worker first.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
  // Covers also a primary that ended before this listener was added.
  if (!process.connected) process.exit(1);
  const worker = new Worker(startNode, openLog);
  process.once("disconnect", () => {
    if (!worker.isEnding) process.exit(1);
  });
  // Only the primary has the other end of the channel.
  process.on("message", (message, handle) =>
    worker.receive(message as ToWorker, handle as Socket | undefined),
  );
}

class Worker {
  readonly #startNode: StartNode;
  readonly #openLog: OpenLog;
  #node: ServedNode | undefined;
  #log: Logger | undefined;
  /** Ends the plan that is being computed. */
  #planning: AbortController | undefined;
  #prepared: { generation: number; apply: () => Promise<void> } | undefined;
  /** Connections that have ended, until one message reports all of them to the primary. */
  #closed: number[] = [];
  #isEnding = false;

  constructor(startNode: StartNode, openLog: OpenLog) {
    this.#startNode = startNode;
    this.#openLog = openLog;
  }

  /** The worker ends by itself, and has reported this to its primary. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  receive(message: ToWorker, socket: Socket | undefined): void {
    if ("connection" in message) this.#take(message.connection, message.to, socket);
    else void this.#answer(message.id, message.request, message.with);
  }

  /** A socket that was closed on its way arrives as `undefined`. */
  #take(id: number, to: ClientListener, socket: Socket | undefined): void {
    send({ taken: id });
    const node = this.#node;
    const log = this.#log;
    const server = to === "grpc" ? node?.grpcListener?.server : node?.publicServer;
    if (socket === undefined || node === undefined || server === undefined || log === undefined) {
      socket?.destroy();
      send({ closed: [id] });
      return;
    }
    const guard = { log, metrics: node.metrics };
    socket.once(
      "close",
      guarded(guard, "worker.socket", () => this.#noteClosed(id, guard)),
    );
    // The same options as for sockets that a server has accepted itself: a client may end its side and still read.
    socket.allowHalfOpen = to === "public";
    const serve = () => server.emit("connection", socket);
    runGuarded(guard, "worker.connection", serve, () => socket.destroy());
  }

  #noteClosed(id: number, guard: GuardParts): void {
    this.#closed.push(id);
    if (this.#closed.length > 1) return;
    const sendClosed = () => send({ closed: this.#closed.splice(0) });
    setImmediate(guarded(guard, "worker.closed", sendClosed));
  }

  async #answer(id: number, request: RequestType, value: unknown): Promise<void> {
    try {
      // The request's own value: the primary sends no other.
      const answer = this.#answers[request] as (value: unknown) => Promise<unknown>;
      const gives = await answer(value);
      send({ id, gives }, request === "drain" ? () => process.exit(0) : undefined);
    } catch (error) {
      const isExpected = error instanceof StartupError;
      const text = isExpected ? error.message : String(error instanceof Error ? error.stack : error);
      const found = outageOf(error);
      const outage = found === null ? null : { mayStillHappen: found.mayStillHappen };
      send({ id, failed: { message: text, isExpected, outage } });
    }
  }

  readonly #answers: Answers = {
    start: async ({ config, generation }) => {
      const log = (await this.#openLog(config)).child({ node: config.server.node });
      this.#log = log;
      const node = await this.#startNode(config, log, generation);
      // The server never listens; it receives its connections from the primary. This call starts the checks of their
      // time limits.
      node.publicServer.emit("listening");
      this.#node = node;
      const drain = () => this.#leave(node);
      guardProcess({ log, drainTimeoutMs: config.server.drainTimeoutMs, drain });
    },
    readiness: async () => this.#running.readiness(),
    metrics: () => this.#running.metrics.registry.getMetricsAsJSON(),
    plan: (text) => {
      // The primary plans one edit at a time.
      this.#planning = new AbortController();
      return this.#running.plan(text, this.#planning.signal);
    },
    endPlan: async () => this.#planning?.abort(),
    // The primary sends the value that belongs to the question.
    admin: ({ question, value }) => this.#running.ask(question, value as never),
    prepare: async (edit) => {
      this.#prepared = { generation: edit.generation, apply: await this.#running.prepare(edit.config) };
    },
    apply: async (edit) => (await this.#preparedFor(edit))(),
    noteRejectedReload: async () => this.#running.noteRejectedReload(),
    drain: () => this.#running.drain(),
  };

  /** Hands the clients over without the primary, which gives no more connections to a worker that has disconnected. */
  async #leave(node: ServedNode): Promise<void> {
    this.#isEnding = true;
    if (process.connected) process.disconnect();
    await node.drain();
  }

  /** A worker that came up while the others were asked has not been asked itself. */
  async #preparedFor({ config, generation }: Edit): Promise<() => Promise<void>> {
    const prepared = this.#prepared;
    this.#prepared = undefined;
    return prepared?.generation === generation ? prepared.apply : this.#running.prepare(config);
  }

  get #running(): ServedNode {
    if (this.#node === undefined) throw new Error("not started yet");
    return this.#node;
  }
}

function send(message: FromWorker, sent?: () => void): void {
  if (process.connected) process.send?.(message, undefined, undefined, sent);
}

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Logger } from "pino";
import type { AdminParts } from "../admin/admin-server.ts";
import { Outage } from "../admin/outage.ts";
import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import type { Processes, Question, Questions } from "../admin/questions.ts";
import { type Readiness, randomNodeId } from "../admin/readiness.ts";
import type { Config } from "../config/config.ts";
import { TrustedProxies } from "../gateway/http/client-network.ts";
import { socketsByFileLimit } from "../gateway/http/file-limit.ts";
import { socketLimitsOf } from "../gateway/http/listener.ts";
import { OpenSockets } from "../gateway/http/open-sockets.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { processMetrics } from "../metrics/process-metrics.ts";
import { editWorkers } from "./edit-workers.ts";
import { HandOut } from "./hand-out.ts";
import { JoinedMetrics } from "./join-metrics.ts";
import { type JoinedReadiness, joinReadiness, type WorkerReadiness } from "./join-readiness.ts";
import type { Edit } from "./messages.ts";
import { planInWorkers } from "./plan-in-workers.ts";
import { RunningTraces } from "./running-traces.ts";
import { WorkerGone, type WorkerProcess } from "./worker-process.ts";
import { type Slot, Workers } from "./workers.ts";

const READINESS_WITHIN_MS = 2_000;
const APPLY_WITHIN_MS = 30_000;
const PLAN_WITHIN_MS = 30_000;
/** Longer than the slowest answer, an edit of the rules, whose steps have limits of their own. */
const ADMIN_WITHIN_MS = 45_000;

/** New connections that wait for a worker. */
const WAITING_MAX = 4_096;

/** The configuration of a primary with its workers. */
export interface FleetOptions {
  readonly config: Config;
  readonly workers: number;
  /** The MongoDB that all of them work on. */
  readonly mongodbUri: string;
  readonly log: Logger;
}

/** The workers of one primary, all on the same configuration and rules. */
export class Fleet {
  readonly node: string;
  readonly #id = randomNodeId();
  readonly workers: Workers;
  readonly handOut: HandOut;
  readonly #mongodbUri: string;
  readonly #count: number;
  readonly #log: Logger;
  readonly #metrics = createMetrics();
  readonly #joined: JoinedMetrics;
  readonly #traces = new RunningTraces();
  #config: Config;
  #generation = 1;
  #lastReload: Readiness["lastReload"] = "none";

  constructor({ config, workers, mongodbUri, log }: FleetOptions) {
    this.node = config.server.node ?? `${hostname()}-${randomBytes(3).toString("hex")}`;
    this.#config = config;
    this.#mongodbUri = mongodbUri;
    this.#count = workers;
    this.#log = log;
    const { workerRestarts, connectionsRefused, socketsRefused } = this.#metrics;
    const { adminBusy, adminRefused, adminSessions, adminSessionsEnded } = this.#metrics;
    const admins = [adminBusy, adminRefused, adminSessions, adminSessionsEnded];
    const counted = [
      workerRestarts,
      connectionsRefused,
      socketsRefused,
      ...admins,
      this.#metrics.unexpectedErrors,
    ];
    const own = [...counted, ...processMetrics()];
    this.#joined = new JoinedMetrics(() => Promise.all(own.map((metric) => metric.get())));
    this.handOut = new HandOut({
      guard: { log, metrics: this.#metrics },
      takers: () => this.workers.up,
      sockets: new OpenSockets(
        { total: Number.POSITIVE_INFINITY, perAddress: perAddressOfAll(config, workers) },
        new TrustedProxies(config.server.trustedProxies),
      ),
      waitingMax: Math.min(WAITING_MAX, Math.floor(socketsByFileLimit() / 2)),
      waitMs: config.server.requestTimeoutMs,
      onRefused: (reason) =>
        reason === "workers-busy" ? connectionsRefused.inc({ reason }) : socketsRefused.inc({ reason }),
    });
    this.workers = new Workers({
      count: workers,
      log,
      metrics: this.#metrics,
      edit: (number) => this.#editFor(number, this.#config, this.#generation),
      traces: this.#traces,
      onUp: () => this.handOut.next(),
      onEnded: (worker) => this.#joined.noteEnded(worker),
    });
  }

  /** The metrics that this process itself counts. */
  get counters(): AdminParts["counters"] {
    return this.#metrics;
  }

  /** In Prometheus' text format. */
  async metrics(): Promise<string> {
    return (await this.#joined.registry(this.workers.up)).metrics();
  }

  async readiness(): Promise<JoinedReadiness> {
    const workers = await Promise.all(this.workers.slots.map((slot) => this.#readinessOf(slot)));
    return joinReadiness(
      { node: this.node, id: this.#id, lastReload: this.#lastReload, rulesGeneration: this.#generation },
      workers,
    );
  }

  /**
   * Lets an edit take effect in all workers, or in none.
   * @throws {StartupError} if one of them cannot.
   */
  async reload(config: Config): Promise<void> {
    const generation = this.#generation + 1;
    await editWorkers({
      up: () => this.#up(),
      editFor: (number) => this.#editFor(number, config, generation),
      takeEffect: () => {
        this.#config = config;
        this.#generation = generation;
        this.#lastReload = "applied";
      },
      log: this.#log,
    });
  }

  /** The effect of an edit, given as the text of a configuration. `gone` ends the plan in all workers. */
  plan(text: string, gone?: AbortSignal): Promise<EditPlan | EditProblems> {
    const planners = this.workers.up.map((worker) => ({
      plan: (of: string) => forAdmin(worker.ask("plan", of, PLAN_WITHIN_MS)),
      endPlan: () => void worker.ask("endPlan", undefined, PLAN_WITHIN_MS).catch(() => {}), // it has ended
    }));
    return planInWorkers(planners, text, gone);
  }

  /** The workers, for questions of admins. */
  get processes(): Processes {
    const ask: Processes["all"] = (question, value) => {
      this.#traces.note(question, value, Date.now());
      return Promise.all(this.workers.up.map((worker) => askWorker(worker, question, value)));
    };
    return {
      all: ask,
      one: async (question, value) => {
        const [worker] = this.workers.up;
        if (worker === undefined) throw new Outage("no worker is up", { stillHappen: false });
        return askWorker(worker, question, value);
      },
    };
  }

  noteRejectedReload(): void {
    this.#lastReload = "rejected";
    for (const { process } of this.#up())
      process.ask("noteRejectedReload", undefined, APPLY_WITHIN_MS).catch(() => {}); // it has ended
  }

  #up(): readonly Slot[] {
    return this.workers.slots.filter(({ process }) => process.isUp);
  }

  #editFor(number: number, config: Config, generation: number): Edit {
    const { mongodb, server, limits } = config;
    // Workers serve no admins, so they do not receive the admins' credentials.
    const { token: _token, jwt: _jwt, ...others } = server.admin;
    const admin = { ...others, tokens: [] };
    return {
      generation,
      config: {
        ...config,
        mongodb: { ...mongodb, uri: this.#mongodbUri },
        limits: { ...limits, socketsPerAddress: perAddressOfAll(config, this.#count) },
        server: { ...server, admin, node: this.#nameOf(number) },
      },
    };
  }

  #nameOf = (number: number): string => `${this.node}-${number}`;

  async #readinessOf({ number, process }: Slot): Promise<WorkerReadiness> {
    const { pid } = process;
    const silent = (status: "starting" | "no-answer"): WorkerReadiness => {
      return { pid, ready: false, status, node: this.#nameOf(number) };
    };
    if (!process.isUp) return silent("starting");
    try {
      return { pid, ...(await process.ask("readiness", undefined, READINESS_WITHIN_MS)) };
    } catch {
      return silent(process.isUp ? "no-answer" : "starting");
    }
  }
}

/** Asks a worker a question of an admin. */
const askWorker = async <Q extends Question>(
  worker: WorkerProcess,
  question: Q,
  value: Questions[Q]["with"],
): Promise<Questions[Q]["gives"]> =>
  // The worker answers the question that it was asked.
  (await forAdmin(worker.ask("admin", { question, value }, ADMIN_WITHIN_MS))) as Questions[Q]["gives"];

/**
 * Waits for the answer of a worker to an admin.
 * @throws {Outage} The worker gives none. It may have received what it was asked for.
 */
async function forAdmin<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof WorkerGone)) throw error;
    throw new Outage(error.message, { stillHappen: true }, { cause: error });
  }
}

/**
 * The sockets that all workers together accept from one address. The primary counts them, as it sees every socket
 * first; how many each worker gets of them is chance.
 */
const perAddressOfAll = ({ limits }: Config, workers: number): number =>
  socketLimitsOf(limits).perAddress * workers;

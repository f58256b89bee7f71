import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { guarded, runGuarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Edit } from "./messages.ts";
import type { RunningTraces, TraceQuestion } from "./running-traces.ts";
import { WorkerGone, WorkerProcess } from "./worker-process.ts";

/** A start inspects MongoDB, and may switch images on in collections. */
const START_WITHIN_MS = 120_000;
const APPLY_WITHIN_MS = 30_000;
const BACKOFF_MS = { first: 100, most: 10_000 };
/** The start of a worker that has run for this long counts as successful. */
const STABLE_AFTER_MS = 30_000;
/** Workers are asked for a sign of life this often; one that gives none so many times in a row is ended. */
const WATCH_MS = 10_000;
const MISSES_MAX = 3;

/** A worker's slot: its process changes, its number stays. */
export interface Slot {
  readonly number: number;
  process: WorkerProcess;
  /** The number of consecutive starts that failed or did not last. */
  failures: number;
  misses: number;
}

/** How many workers run, and what follows when one starts or ends. */
export interface WorkersOptions {
  readonly count: number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The current start parameters of a worker. */
  readonly edit: (number: number) => Edit;
  readonly traces: Pick<RunningTraces, "nextFor">;
  readonly onUp: () => void;
  readonly onEnded: (process: WorkerProcess) => void;
}

/** Keeps a number of workers running. Starts a worker again when it ends or hangs. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #slots: Slot[] = [];
  readonly #watch: NodeJS.Timeout;
  readonly #stopping = new AbortController();

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#watch = setInterval(
      guarded(options, "workers.watch", () => this.#look()),
      WATCH_MS,
    ).unref();
  }

  get slots(): readonly Slot[] {
    return this.#slots;
  }

  /** The workers that serve. */
  get up(): readonly WorkerProcess[] {
    return this.#slots.map(({ process }) => process).filter(({ isUp }) => isUp);
  }

  /**
   * Answers when all of them serve. The first one alone checks MongoDB and switches images on, so
   * that each problem is reported once.
   * @throws {StartupError} One could not start.
   */
  async start(): Promise<void> {
    await this.#startFirst(1);
    const others = Array.from({ length: this.#options.count - 1 }, (_, index) => this.#startFirst(index + 2));
    await Promise.all(others);
    for (const slot of this.#slots) runGuarded(this.#options, "workers.keep", () => this.#keep(slot));
  }

  /** Shuts all workers down; kills those that still run after `withinMs`. */
  async drain(withinMs: number): Promise<void> {
    this.#stop();
    await Promise.all(
      this.#slots.map(async ({ process }) => {
        const drained = process.isUp ? process.ask("drain", undefined, withinMs) : Promise.reject();
        await drained.catch(() => process.kill());
        await process.ended;
      }),
    );
  }

  /** Ends all workers at once. */
  async end(): Promise<void> {
    this.#stop();
    for (const { process } of this.#slots) process.kill();
    await Promise.all(this.#slots.map(({ process }) => process.ended));
  }

  #stop(): void {
    clearInterval(this.#watch);
    this.#stopping.abort();
  }

  async #startFirst(number: number): Promise<void> {
    const slot: Slot = { number, process: new WorkerProcess(this.#options), failures: 0, misses: 0 };
    this.#slots.push(slot);
    await this.#bringUp(slot);
  }

  /** Starts what the process in the slot is to serve, and brings it to the rules and the traces of that time. */
  async #bringUp({ number, process }: Slot): Promise<void> {
    const started = this.#options.edit(number);
    await process.ask("start", started, START_WITHIN_MS);
    const followed = new Set<string>();
    // The worker is up in the turn in which both are found to be current. From then on it is asked like the others.
    for (let { generation } = started; ; ) {
      const edit = this.#options.edit(number);
      const isCurrent = generation === edit.generation;
      const question = isCurrent ? this.#options.traces.nextFor(followed, Date.now()) : null;
      if (question !== null) await this.#follow(process, question);
      else if (isCurrent) break;
      else await process.ask("apply", edit, APPLY_WITHIN_MS);
      generation = edit.generation;
    }
    process.noteUp();
    this.#options.onUp();
  }

  async #follow(process: WorkerProcess, question: TraceQuestion): Promise<void> {
    try {
      await process.ask("admin", question, APPLY_WITHIN_MS);
    } catch (err) {
      if (err instanceof WorkerGone) throw err;
      // Clients do not wait for a trace.
      this.#options.log.warn({ err }, "a worker that was started again could not take up a running trace");
    }
  }

  /** Starts the slot's process again whenever it ends. */
  async #keep(slot: Slot): Promise<void> {
    const { log, metrics } = this.#options;
    for (let sinceMs = Date.now(); !this.#stopping.signal.aborted; ) {
      const how = await slot.process.ended;
      this.#options.onEnded(slot.process);
      if (this.#stopping.signal.aborted) return;
      if (Date.now() - sinceMs >= STABLE_AFTER_MS) slot.failures = 0;
      const inMs = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** Math.min(slot.failures++, 10));
      log.error(
        { worker: slot.number, workerPid: slot.process.pid, how, inMs },
        "a worker has ended; it is started again",
      );
      await sleep(inMs, undefined, { signal: this.#stopping.signal }).catch(() => {}); // rejects at a shutdown
      if (this.#stopping.signal.aborted) return;
      metrics.workerRestarts.inc();
      slot.process = new WorkerProcess(this.#options);
      slot.misses = 0;
      sinceMs = Date.now();
      await this.#bringUpAgain(slot);
    }
  }

  async #bringUpAgain(slot: Slot): Promise<void> {
    const { number, process } = slot;
    try {
      await this.#bringUp(slot);
      this.#options.log.info({ worker: number, workerPid: process.pid }, "the worker serves again");
    } catch (error) {
      this.#options.log.error({ worker: number, err: error }, "the worker could not be started again");
      process.kill();
    }
  }

  /** The clients of a worker that hangs would notice only after their own timeouts, so the worker is ended. */
  #look(): void {
    for (const slot of this.#slots) {
      const { process } = slot;
      if (!process.isUp) continue;
      const answered = process.ask("readiness", undefined, WATCH_MS);
      answered.then(
        () => {
          slot.misses = 0;
        },
        () => this.#missed(slot, process),
      );
    }
  }

  #missed(slot: Slot, process: WorkerProcess): void {
    if (slot.process !== process || !process.isUp || ++slot.misses < MISSES_MAX) return;
    const silentMs = MISSES_MAX * WATCH_MS;
    this.#options.log.error(
      { worker: slot.number, pid: process.pid, silentMs },
      "a worker does not respond; it is killed",
    );
    process.kill();
  }
}

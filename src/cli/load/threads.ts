import { Worker } from "node:worker_threads";
import { StartupError } from "../../source/startup-error.ts";
import type { GroupCommand, GroupReport } from "./group-thread.ts";
import { type Interval, mergeIntervals, type ThreadFigures } from "./tally.ts";
import type { GroupPlan } from "./user-group.ts";

/** Heap of one thread. */
const HEAP_MIB_MAX = 4_096;

/** The groups of virtual users, each in a thread of its own. */
export class Threads {
  /** Settles when every user has its first result or was refused; rejects if a thread ends. */
  readonly ramped: Promise<void>;
  /** Rejects if a thread ends by itself. */
  readonly failed: Promise<never>;
  readonly #workers: readonly Worker[];

  /** @param onIntervals Receives the reports of all threads, about once a second. */
  constructor(plans: readonly GroupPlan[], onIntervals: (intervals: readonly Interval[]) => void) {
    this.#workers = plans.map(startThread);
    this.failed = Promise.race(this.#workers.map(failureOf));
    this.failed.catch(() => {}); // each wait for a thread races with it
    const ramped = this.#workers.map((worker) => reportOf(worker, "ramped"));
    this.ramped = Promise.race([Promise.all(ramped).then(() => {}), this.failed]);
    this.ramped.catch(() => {}); // a run that is stopped early does not wait for it
    const arrived = new Map<Worker, Interval>();
    for (const worker of this.#workers) {
      worker.on("message", (report: GroupReport) => {
        if (report.type !== "interval") return;
        // A thread that is ahead of a busy one reports again before the busy one does.
        const earlier = arrived.get(worker);
        arrived.set(
          worker,
          earlier === undefined ? report.interval : mergeIntervals(earlier, report.interval),
        );
        if (arrived.size < this.#workers.length) return;
        onIntervals([...arrived.values()]);
        arrived.clear();
      });
    }
  }

  /** Sets the measured part of the run, in epoch milliseconds. */
  measure(fromMs: number, toMs: number): void {
    this.#tell({ type: "measure", fromMs, toMs });
  }

  /** Shortens the wait of `finish`. */
  hurry(withinMs: number): void {
    this.#tell({ type: "hurry", withinMs });
  }

  /** Rejects if a thread ends before its figures are known. */
  async finish(finals: readonly number[], withinMs: number): Promise<ThreadFigures[]> {
    const finished = Promise.all(
      this.#workers.map(async (worker) => (await reportOf(worker, "finished")).figures),
    );
    this.#tell({ type: "finish", finals, withinMs });
    return Promise.race([finished, this.failed]);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #tell(command: GroupCommand): void {
    for (const worker of this.#workers) worker.postMessage(command);
  }
}

function startThread(plan: GroupPlan): Worker {
  // A thread runs compiled JavaScript. If the sources themselves run, as in tests, that is in `dist`.
  const isSource = import.meta.url.endsWith(".ts");
  const folder = isSource ? "../../../dist/cli/load/" : "./";
  return new Worker(new URL(`${folder}group-thread.js`, import.meta.url), {
    workerData: plan,
    env: {},
    // The options of a test runner do not fit. Those of Node itself do, such as `--cpu-prof`.
    ...(isSource ? { execArgv: [] } : {}),
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
  });
}

function reportOf<Type extends GroupReport["type"]>(
  worker: Worker,
  type: Type,
): Promise<Extract<GroupReport, { type: Type }>> {
  return new Promise((resolve) => {
    const onReport = (report: GroupReport) => {
      if (report.type !== type) return;
      worker.off("message", onReport);
      resolve(report as Extract<GroupReport, { type: Type }>); // compared above
    };
    worker.on("message", onReport);
  });
}

function failureOf(worker: Worker): Promise<never> {
  return new Promise((_resolve, reject) => {
    worker.once("error", (error) => {
      const isMemory = "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
      const memory = `a thread needed more than ${HEAP_MIB_MAX} MiB: use more --workers, fewer --connections, or filters with smaller results`;
      reject(isMemory ? new StartupError(memory, [], { cause: error }) : error);
    });
  });
}

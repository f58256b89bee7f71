import { AggregatorRegistry, type Registry } from "prom-client";
import type { MetricsJson } from "./messages.ts";
import type { WorkerProcess } from "./worker-process.ts";

const ANSWER_WITHIN_MS = 5_000;

/**
 * The metrics of all workers as those of one service. The last known counts of an exited worker stay
 * counted, so that no counter ever falls.
 */
export class JoinedMetrics {
  readonly #own: () => Promise<MetricsJson>;
  readonly #last = new Map<WorkerProcess, MetricsJson>();
  #ended: MetricsJson = [];

  /** @param own The metrics of the primary itself. */
  constructor(own: () => Promise<MetricsJson>) {
    this.#own = own;
  }

  /** For a worker that does not answer, its last answer counts. */
  async registry(workers: readonly WorkerProcess[]): Promise<Registry> {
    await Promise.all(
      workers.map(async (worker) => {
        const metrics = await worker.ask("metrics", undefined, ANSWER_WITHIN_MS).catch(() => undefined);
        // The worker may have ended since it answered.
        if (metrics !== undefined && worker.isUp) this.#last.set(worker, metrics);
      }),
    );
    return join([...this.#last.values(), this.#ended, await this.#own()]);
  }

  /** Takes over what the worker has counted. */
  noteEnded(worker: WorkerProcess): void {
    const last = this.#last.get(worker);
    if (last === undefined) return;
    this.#last.delete(worker);
    const counts = last.filter(({ type }) => String(type) !== "gauge");
    // The metrics of a joined registry have values, which the library's type omits.
    this.#ended = join([this.#ended, counts]).getMetricsAsArray() as MetricsJson;
  }
}

/** Adds the values, or combines them as the metric says. */
const join = (metrics: MetricsJson[]): Registry => AggregatorRegistry.aggregate(metrics);

import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Feed } from "../feed/feed.ts";
import { runGuarded } from "../metrics/guard.ts";
import { Lease } from "../source/lease.ts";
import type { LeaseStore } from "../source/lease-store.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { Partition, type PartitionParts } from "./partition.ts";
import { PARTITIONS } from "./partition-of.ts";

/** The parts of the service. */
export interface PushServiceParts extends PartitionParts {
  readonly leases: LeaseStore;
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  /** A name that no other process has, and none has had before. */
  readonly holder: string;
}

/** Pause before another attempt to take a partition over, in milliseconds. */
const RETRY_MS = 1_000;
/** Processes that start together compete for each partition this long after the one before, in milliseconds. */
const STAGGER_MS = 20;

/** Serves the partitions of push registrations whose leases this process holds. */
export class PushService {
  readonly #parts: PushServiceParts;
  readonly #held = new Map<number, Partition>();
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>[] = [];

  constructor(parts: PushServiceParts) {
    const { metrics } = parts;
    this.#parts = parts;
    // Every partition waits for it in two places.
    setMaxListeners(2 * PARTITIONS, this.#stopping.signal);
    metrics.pushConfigured.set(1);
    metrics.onScrape("pushRegistrations", () => this.#count());
    for (let number = 0; number < PARTITIONS; number++) this.#running.push(this.#serve(number));
  }

  /** Saves what the next holders need, and lets them take over at once. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running);
  }

  async #serve(number: number): Promise<void> {
    const { signal } = this.#stopping;
    // In a random order, so that processes that start together share the partitions.
    await sleep(Math.random() * STAGGER_MS * PARTITIONS, undefined, { signal }).catch(() => {}); // rejects at the stop
    while (!signal.aborted) {
      await new Promise<void>((done) => {
        runGuarded(this.#parts.context, "push.partition", async () => {
          try {
            await this.#serveOnce(number, signal);
          } finally {
            done();
          }
        });
      });
      // Without the signal a fault that repeats at once would keep the process busy.
      await sleep(RETRY_MS, undefined, { signal }).catch(() => {}); // as above
    }
  }

  async #serveOnce(number: number, signal: AbortSignal): Promise<void> {
    const { leases: store, answer, holder, options, context, metrics } = this.#parts;
    await untilReady(this.#parts.feed, signal);
    const { log } = context;
    const lease = { name: `push-${number}`, holder, ttlMs: options.leaseTtlMs };
    const term = await new Lease(lease, { store, answer, log, metrics }).compete(signal);
    if (term === null) return;
    const partition = new Partition(number, term, this.#parts);
    this.#held.set(number, partition);
    metrics.pushPartitions.set(this.#held.size);
    try {
      await partition.run(signal);
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      log.warn({ err: error, partition: number }, "push registrations could not be taken over; trying again");
    } finally {
      this.#held.delete(number);
      metrics.pushPartitions.set(this.#held.size);
      await term.release();
    }
  }

  #count(): void {
    const { pushRegistrations, pushWaiting } = this.#parts.metrics;
    const counts = { open: 0, opening: 0, suspended: 0 };
    let waiting = 0;
    for (const partition of this.#held.values()) {
      for (const { phase, hasPush } of partition.registrations) {
        if (phase === "open" || phase === "suspended") counts[phase]++;
        else counts.opening++;
        if (hasPush) waiting++;
      }
    }
    for (const [state, count] of Object.entries(counts)) pushRegistrations.set({ state }, count);
    pushWaiting.set(waiting);
  }
}

/** Settles when the change stream has found its start, so that there are positions. */
async function untilReady({ timeline }: Feed, signal: AbortSignal): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
  while (!timeline.isReady && !signal.aborted) await Promise.race([timeline.advances.next(), stopped]);
}

/**
 * Decouples the change stream from the state database: a slow write of a checkpoint must not delay the delivery of
 * changes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { guarded } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Checkpoint } from "./checkpoint-store.ts";

/** How long the shutdown waits for the last save, in milliseconds. The database may be the reason for the shutdown. */
const LAST_SAVE_TIMEOUT_MS = 2_000;

/**
 * The store of positions. Each `save` must settle, because the writer runs one at a time and a hanging one would end
 * all later ones.
 */
export interface SavesCheckpoints {
  /** Saves a checkpoint unless another process keeps saving them. */
  saveInTurn(checkpoint: Checkpoint): Promise<void>;
  /** Saves a checkpoint. */
  save(checkpoint: Checkpoint): Promise<void>;
}

/**
 * Saves the latest position at intervals, one write at a time. Losing a write only means that the next start reads some
 * commits again.
 */
export class CheckpointWriter {
  readonly #store: SavesCheckpoints;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #timer: NodeJS.Timeout;
  #latest: Checkpoint | undefined;
  #saved: Checkpoint | undefined;
  #saving: Promise<void> | undefined;

  constructor(store: SavesCheckpoints, intervalMs: number, parts: { log: Logger; metrics: Metrics }) {
    this.#store = store;
    this.#log = parts.log;
    this.#metrics = parts.metrics;
    const save = guarded(parts, "source.checkpoint", () => this.#save((latest) => store.saveInTurn(latest)));
    this.#timer = setInterval(save, intervalMs).unref();
  }

  /** Every commit up to this position was accepted. The next interval saves it. */
  note(checkpoint: Checkpoint): void {
    this.#latest = checkpoint;
  }

  /** Discards a position that is no longer valid, so that it is not saved after a new order of commits began. */
  reset(): void {
    this.#latest = undefined;
  }

  /** Stops the interval. Saves the last position first, if the database answers within `timeoutMs`. */
  async stop(timeoutMs = LAST_SAVE_TIMEOUT_MS): Promise<void> {
    clearInterval(this.#timer);
    const giveUp = new AbortController();
    const isSaved = this.#saveAll().then(() => true);
    const isLate = sleep(timeoutMs, false, { signal: giveUp.signal }).catch(() => false);
    if (!(await Promise.race([isSaved, isLate])))
      this.#log.warn("the last position could not be saved: the next start reads some changes again");
    giveUp.abort();
  }

  async #saveAll(): Promise<void> {
    await this.#saving;
    await this.#save((latest) => this.#store.save(latest));
  }

  #save(store: (latest: Checkpoint) => Promise<void>): Promise<void> {
    const latest = this.#latest;
    if (this.#saving !== undefined || latest === undefined || latest === this.#saved)
      return Promise.resolve();
    const saving = store(latest).then(
      () => {
        this.#saved = latest;
        this.#metrics.checkpoints.inc();
      },
      (error: unknown) => {
        this.#metrics.checkpointErrors.inc();
        this.#log.warn({ err: error }, "the position could not be saved; trying again");
      },
    );
    this.#saving = saving.finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }
}

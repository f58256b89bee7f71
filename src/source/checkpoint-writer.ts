import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import type { Checkpoint, CheckpointStore } from "./checkpoint-store.ts";

/** Saves the latest position at intervals, one write at a time; a lost write only means reading a little again. */
export class CheckpointWriter {
  readonly #store: CheckpointStore;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #timer: NodeJS.Timeout;
  #latest: Checkpoint | undefined;
  #saved: Checkpoint | undefined;
  #saving: Promise<void> | undefined;

  constructor(store: CheckpointStore, intervalMs: number, parts: { log: Logger; metrics: Metrics }) {
    this.#store = store;
    this.#log = parts.log;
    this.#metrics = parts.metrics;
    this.#timer = setInterval(() => void this.#save(), intervalMs).unref();
  }

  /** Everything up to here was accepted. */
  note(checkpoint: Checkpoint): void {
    this.#latest = checkpoint;
  }

  /** Forgets a position that is void. */
  reset(): void {
    this.#latest = undefined;
  }

  /** Saves what is not yet saved, and ends. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#saving;
    await this.#save();
  }

  #save(): Promise<void> {
    const latest = this.#latest;
    if (this.#saving !== undefined || latest === undefined || latest === this.#saved)
      return Promise.resolve();
    const saving = this.#store.save(latest).then(
      () => {
        this.#saved = latest;
        this.#metrics.checkpoints.inc();
      },
      (error: unknown) => {
        this.#metrics.checkpointErrors.inc();
        this.#log.warn({ err: error }, "the position could not be saved; it will be tried again");
      },
    );
    this.#saving = saving.finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }
}

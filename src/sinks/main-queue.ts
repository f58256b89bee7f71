import type { Courier, Parcel } from "./courier.ts";
import { LOAD, readSpool } from "./read-spool.ts";
import type { SinkRunParts } from "./sink-run-parts.ts";
import type { SinkWriter } from "./sink-writer.ts";

/** The parts that a main queue works with. */
export interface MainQueueParts extends Pick<SinkRunParts, "answer" | "store" | "name"> {
  readonly courier: Courier;
  readonly writer: SinkWriter;
  /** Whether nothing may be sent at the moment. */
  readonly isHalted: () => boolean;
  /** Called before the queue is read from its beginning. */
  readonly onReload: () => void;
  /** Takes a message of the queue. */
  readonly onParcel: (parcel: Parcel) => void;
  readonly failed: (error: unknown) => void;
}

/**
 * The main queue of the spool, which holds messages that wait for the target. While it is in use, every new message goes to
 * its end, so that it is left only when it is empty.
 */
export class MainQueue {
  readonly #parts: MainQueueParts;
  #isInUse: boolean;
  /** The last message that went to the queue. */
  #spooledSeq = 0;
  /** Up to this message, the queue has been handed on. */
  #loadedSeq = 0;
  /** Parcels were taken back, so that the queue has to be read again from its beginning. */
  #mustReload = false;
  #isLoading = false;

  constructor(parts: MainQueueParts, isInUse: boolean) {
    this.#parts = parts;
    this.#isInUse = isInUse;
  }

  /** Whether new messages go to the queue. */
  get isInUse(): boolean {
    return this.#isInUse;
  }

  /** Whether the queue is about to be read from its beginning. */
  get mustReload(): boolean {
    return this.#mustReload;
  }

  /** From this message on, messages go to the queue. Those before it are with the courier. */
  begin(seq: number): void {
    if (this.#isInUse) return;
    this.#isInUse = true;
    this.#loadedSeq = seq - 1;
  }

  /** The courier has given its messages back. */
  reload(): void {
    this.#isInUse = true;
    this.#mustReload = true;
  }

  /** A message has entered the queue. */
  noteAdded(seq: number): void {
    this.#spooledSeq = Math.max(this.#spooledSeq, seq);
  }

  /** Goes on where the queue has messages to send. */
  proceed(): void {
    if (this.#parts.isHalted() || this.#isLoading || !this.#isInUse) return;
    this.#isLoading = true;
    this.#load()
      .catch(this.#parts.failed)
      .finally(() => {
        this.#isLoading = false;
        // The reason to stop may have ended while the last step was under way.
        this.proceed();
      });
  }

  /** Hands the queue on, until it is empty. */
  async #load(): Promise<void> {
    const { courier, writer, isHalted, onReload, onParcel } = this.#parts;
    while (this.#isInUse && !isHalted()) {
      if (this.#mustReload) {
        // A message in flight must not be sent twice.
        await courier.idle();
        if (isHalted()) return;
        this.#mustReload = false;
        this.#loadedSeq = 0;
        onReload();
      }
      await courier.below(LOAD.messages / 2);
      const spooledSeq = this.#spooledSeq;
      await writer.flush();
      if (isHalted() || this.#mustReload) continue;
      const { parcels, isAll } = await readSpool(this.#parts, null, this.#loadedSeq, LOAD);
      if (isHalted() || this.#mustReload) continue;
      for (const parcel of parcels) {
        this.#loadedSeq = parcel.seq;
        onParcel(parcel);
      }
      if (isAll && this.#spooledSeq === spooledSeq) this.#isInUse = false;
    }
  }
}

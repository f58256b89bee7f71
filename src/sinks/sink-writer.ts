/** Saves the state of a sink, one write at a time. Whatever changes meanwhile is part of the next one. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { type Deferred, deferred } from "../feed/deferred.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { ParkedMessage, SinkState, SpooledMessage } from "./sink-documents.ts";
import type { SinkWrites } from "./sink-store.ts";
import { sizeOf } from "./stored-message.ts";

/** The parts that a writer works with. */
export interface SinkWriterParts {
  /** @returns `false` if another process is the holder now. */
  readonly save: (writes: SinkWrites) => Promise<boolean>;
  /** The state at this moment, in which everything that was given to the writer so far has taken effect. */
  readonly state: () => SinkState;
  /** The state database knows that the target has accepted so many more messages. */
  readonly saved: (accepted: number) => void;
  /** Another process is the holder, so that nothing can be saved any more. */
  readonly superseded: () => void;
  readonly failed: (error: unknown) => void;
  readonly log: Logger;
}

/** Messages that wait to be written, and those of one transaction, take at most about this much memory, in bytes. */
const BUFFER_BYTES = 1_048_576;
/**
 * The shortest time between two writes of the position alone, in milliseconds. A process that is killed sends again what
 * was accepted since the last write, so that a longer time means more repetitions.
 */
const POSITION_GAP_MS = 2;
/** By so many ids of messages after the position the pause grows by its length, because each write contains all of them. */
const AHEAD_STEP = 40;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 2_000;

const REMOVED = "removed";

/** Collects the writes of one holder, and saves them in transactions. A failed one is repeated until it succeeds. */
export class SinkWriter {
  readonly #parts: SinkWriterParts;
  /** By their places; the last write to a place counts. */
  readonly #spool = new Map<number, SpooledMessage | typeof REMOVED>();
  readonly #parked = new Map<string, ParkedMessage | typeof REMOVED>();
  #bytes = 0;
  /** Messages that the target has accepted, and that no write covers so far. */
  #accepted = 0;
  #isDirty = false;
  #isRunning = false;
  #isOver = false;
  /** Settles when the next write has ended. */
  #written: Deferred = deferred();
  /** Writes that were begun and that have ended. */
  #begun = 0;
  #ended = 0;

  constructor(parts: SinkWriterParts) {
    this.#parts = parts;
  }

  /** Puts a message into the spool, or replaces it there. */
  spool(message: SpooledMessage): void {
    this.#bytes += sizeOf(message.message);
    this.#spool.set(message.seq, message);
    this.touch();
  }

  /** Removes a message from the spool. */
  remove(seq: number): void {
    this.#spool.set(seq, REMOVED);
    this.touch();
  }

  park(message: ParkedMessage): void {
    this.#parked.set(message.message.id, message);
    this.touch();
  }

  unpark(id: string): void {
    this.#parked.set(id, REMOVED);
    this.touch();
  }

  /** The target has accepted a message. */
  noteAccepted(): void {
    this.#accepted++;
    this.touch();
  }

  /** The state has changed. */
  touch(): void {
    this.#isDirty = true;
    if (this.#isRunning || this.#isOver) return;
    this.#isRunning = true;
    this.#run().catch((error: unknown) => {
      this.end();
      this.#parts.failed(error);
    });
  }

  /** Settles when everything that was given so far is saved, or the writer has ended. */
  async flush(): Promise<void> {
    const wanted = this.#isDirty ? this.#begun + 1 : this.#begun;
    while (this.#ended < wanted && !this.#isOver) await this.#written.promise;
  }

  /** Settles when more messages may be given, or the writer has ended. */
  async room(): Promise<void> {
    while (this.#bytes > BUFFER_BYTES && !this.#isOver) await this.#written.promise;
  }

  /** Nothing more is saved. */
  end(): void {
    this.#isOver = true;
    this.#notify();
  }

  async #run(): Promise<void> {
    // Everything of this turn belongs to the same write.
    await null;
    while (this.#isDirty && !this.#isOver) {
      const writes = this.#take();
      const accepted = this.#accepted;
      this.#accepted = 0;
      this.#begun++;
      if (!(await this.#save(writes))) break;
      this.#ended++;
      this.#parts.saved(accepted);
      this.#notify();
      const isPositionAlone = writes.spool.length + writes.delivered.length === 0;
      const gapMs = POSITION_GAP_MS * (1 + writes.state.ahead.length / AHEAD_STEP);
      if (isPositionAlone && this.#isDirty) await sleep(gapMs);
    }
    this.#isRunning = false;
  }

  /** All of it, because the position in the state presumes that all of it is saved. */
  #take(): SinkWrites {
    const spool = [...this.#spool.values()].filter((write) => write !== REMOVED);
    const delivered = [...this.#spool].flatMap(([seq, write]) => (write === REMOVED ? [seq] : []));
    const park = [...this.#parked.values()].filter((write) => write !== REMOVED);
    const unpark = [...this.#parked].flatMap(([id, write]) => (write === REMOVED ? [id] : []));
    this.#spool.clear();
    this.#parked.clear();
    this.#bytes = 0;
    this.#isDirty = false;
    return { state: this.#parts.state(), spool, delivered, park, unpark };
  }

  async #save(writes: SinkWrites): Promise<boolean> {
    for (let pauseMs = RETRY_FIRST_MS; !this.#isOver; pauseMs = Math.min(pauseMs * 2, RETRY_MAX_MS)) {
      try {
        if (await this.#parts.save(writes)) return true;
        this.end();
        this.#parts.superseded();
        return false;
      } catch (error) {
        if (!isMongoFailure(error)) throw error;
        this.#parts.log.debug({ err: error }, "the state of a sink was not saved; trying again");
        await sleep(pauseMs * (0.5 + Math.random()));
      }
    }
    return false;
  }

  #notify(): void {
    this.#written.resolve();
    this.#written = deferred();
  }
}

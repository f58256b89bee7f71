/** Sends messages to a target: those of one key one after another, those of different keys at the same time. */
import { setMaxListeners } from "node:events";
import { type Deferred, deferred } from "../feed/deferred.ts";
import { sizeOf } from "./stored-message.ts";
import type { SendResult, SinkMessage, Target } from "./target.ts";

/** A message on its way to the target. */
export interface Parcel {
  /** Its place in the order of arrival. */
  readonly seq: number;
  readonly message: SinkMessage;
  readonly bytes: number;
  readonly atMs: number;
  /** Attempts so far. */
  readonly attempts: number;
  /** The queue of the spool that holds it; `undefined` if it is in memory alone. A message in memory may be copied to the spool. */
  lane: string | null | undefined;
  /** Whether the state database can hold it; `undefined` until that was judged, which may take some milliseconds. */
  isStorable?: boolean;
}

/** A message that has just arrived. */
export const newParcel = (seq: number, message: SinkMessage, atMs: number): Parcel => ({
  seq,
  message,
  bytes: sizeOf(message),
  atMs,
  attempts: 0,
  lane: undefined,
});

/** Receives the outcome of each attempt. */
export interface CourierEvents {
  /** Asked before each request. */
  readonly maySend: () => boolean;
  readonly settled: (parcel: Parcel, result: SendResult) => void;
  /** The target has thrown, which is a bug. */
  readonly failed: (error: unknown) => void;
}

/** Messages that are in memory before they go to the spool. */
export const WINDOW = 1_000;
/** Messages on their way take at most about this much memory, in bytes. */
const BYTES_MAX = 16 * 1_048_576;
/** A message leaves the spool by a transaction, which is slower than a write of the position, and covers more messages. */
const SPOOLED_EXPOSED_MAX = 200;

/** Holds the messages that are to be sent now, and sends them. */
export class Courier {
  readonly #target: Target;
  readonly #concurrency: number;
  readonly #events: CourierEvents;
  readonly #abort = new AbortController();
  /** By key, in order. The first one may be in flight. */
  readonly #queues = new Map<string, Parcel[]>();
  /** Keys whose first message may be sent. */
  #ready: string[] = [];
  readonly #busy = new Set<string>();
  #sends = 0;
  /** Messages in flight, and those that the target has accepted while the state database does not know it yet. */
  #exposed = 0;
  #limit: number;
  #size = 0;
  #bytes = 0;
  /** Settles when the next parcel has left. */
  #departure: Deferred = deferred();

  constructor(target: Target, concurrency: number, events: CourierEvents) {
    this.#target = target;
    this.#concurrency = concurrency;
    this.#limit = concurrency;
    this.#events = events;
    // Each request listens for the end.
    setMaxListeners(0, this.#abort.signal);
  }

  /** Messages that wait or are in flight. */
  get size(): number {
    return this.#size;
  }

  /** When the oldest of them arrived, in epoch milliseconds; `null` if there is none. */
  get oldestMs(): number | null {
    let oldest: number | null = null;
    for (const [first] of this.#queues.values())
      if (first !== undefined && (oldest === null || first.atMs < oldest)) oldest = first.atMs;
    return oldest;
  }

  /** About their memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether messages of this key wait or are in flight. */
  has(key: string): boolean {
    return this.#busy.has(key) || (this.#queues.get(key)?.length ?? 0) > 0;
  }

  /** Sends one request at a time, until `hurry`, because the target may still be down. */
  tiptoe(): void {
    this.#limit = 1;
  }

  /** The state database knows that the target has accepted so many messages. */
  noteSaved(count: number): void {
    this.#exposed -= count;
    this.#pump();
  }

  hurry(): void {
    if (this.#limit === this.#concurrency) return;
    this.#limit = this.#concurrency;
    this.#pump();
  }

  add(parcel: Parcel): void {
    const { key } = parcel.message;
    const queue = this.#queues.get(key);
    if (queue === undefined) {
      this.#queues.set(key, [parcel]);
      this.#ready.push(key);
    } else queue.push(parcel);
    this.#size++;
    this.#bytes += parcel.bytes;
    this.#pump();
  }

  /** Messages that are in memory alone, in the order of arrival, including those in flight. */
  unsaved(): Parcel[] {
    const parcels = [...this.#queues.values()].flat().filter(({ lane }) => lane === undefined);
    return parcels.sort((a, b) => a.seq - b.seq);
  }

  /** Takes back everything that is not in flight. @returns It in the order of arrival. */
  withdraw(): Parcel[] {
    const taken = [...this.#queues.keys()].flatMap((key) => this.withdrawKey(key));
    return taken.sort((a, b) => a.seq - b.seq);
  }

  /** Takes back the messages of a key, except for one in flight. */
  withdrawKey(key: string): Parcel[] {
    const queue = this.#queues.get(key);
    if (queue === undefined) return [];
    const taken = queue.splice(this.#busy.has(key) ? 1 : 0);
    if (queue.length === 0) this.#queues.delete(key);
    if (!this.#busy.has(key)) this.#ready = this.#ready.filter((other) => other !== key);
    this.#size -= taken.length;
    for (const { bytes } of taken) this.#bytes -= bytes;
    this.#depart();
    return taken;
  }

  /** Whether so many messages are here, or so much memory is taken, that no more should come. */
  isFull(size: number): boolean {
    return this.#size >= size || this.#bytes >= BYTES_MAX;
  }

  /** Settles when it is not full, or the courier has stopped. */
  async below(size: number): Promise<void> {
    while (this.isFull(size) && !this.#abort.signal.aborted) await this.#departure.promise;
  }

  /** Settles when nothing is in flight, or the courier has stopped. */
  async idle(): Promise<void> {
    while (this.#busy.size > 0 && !this.#abort.signal.aborted) await this.#departure.promise;
  }

  /** Gives up the requests in flight, and sends nothing more. */
  stop(): void {
    this.#abort.abort();
    this.#depart();
  }

  /** Whether the next request may begin. A process that is killed repeats what is exposed, so that is bounded. */
  get #mayExpose(): boolean {
    if (this.#sends >= this.#limit) return false;
    const [first] = this.#queues.get(this.#ready[0] ?? "") ?? [];
    const most = this.#limit * this.#batch;
    return this.#exposed < (first?.lane === undefined ? most : Math.max(most, SPOOLED_EXPOSED_MAX));
  }

  get #batch(): number {
    return Math.max(1, this.#target.batchSize);
  }

  #pump(): void {
    while (this.#ready.length > 0 && this.#mayExpose && !this.#abort.signal.aborted) {
      if (!this.#events.maySend()) return;
      const keys = this.#ready.splice(0, this.#batch);
      const parcels = keys.flatMap((key) => this.#queues.get(key)?.[0] ?? []);
      for (const key of keys) this.#busy.add(key);
      this.#sends++;
      this.#exposed += parcels.length;
      this.#send(parcels).catch((error: unknown) => this.#events.failed(error));
    }
  }

  async #send(parcels: readonly Parcel[]): Promise<void> {
    const messages = parcels.map(({ message }) => message);
    const results = await this.#target.send(messages, this.#abort.signal);
    if (this.#abort.signal.aborted) return;
    this.#sends--;
    for (const [index, parcel] of parcels.entries()) {
      const { key } = parcel.message;
      this.#busy.delete(key);
      this.#queues.get(key)?.shift();
      this.#size--;
      this.#bytes -= parcel.bytes;
      const result = results[index] ?? { kind: "refused", reason: "the target gave no result" };
      // An accepted message stays exposed until `noteSaved`.
      if (result.kind !== "accepted") this.#exposed--;
      this.#events.settled(parcel, result);
      const rest = this.#queues.get(key);
      // The handler may have added messages of this key, or taken them back.
      if (rest === undefined) continue;
      if (rest.length === 0) this.#queues.delete(key);
      else if (!this.#busy.has(key) && !this.#ready.includes(key)) this.#ready.push(key);
    }
    this.#depart();
    this.#pump();
  }

  #depart(): void {
    this.#departure.resolve();
    this.#departure = deferred();
  }
}

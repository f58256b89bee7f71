import type { Metrics } from "../metrics/metrics.ts";
import type { SinkNote, SinkPosition, SinkState } from "./sink-documents.ts";

/** The metrics of sinks. */
export type SinkMetrics = Pick<
  Metrics,
  | "sinkDelivered"
  | "sinkFailed"
  | "sinkParked"
  | "sinkLost"
  | "sinkResets"
  | "sinkLag"
  | "sinkLeading"
  | "sinkSpooledMessages"
  | "sinkSpooledBytes"
  | "sinkParkedMessages"
>;

/** The counts of one sink, as its holder has found them and goes on with them. */
export class SinkLedger {
  readonly #name: string;
  readonly #metrics: SinkMetrics;
  #state: SinkState;

  constructor(name: string, state: SinkState, metrics: SinkMetrics) {
    this.#name = name;
    this.#state = state;
    this.#metrics = metrics;
    this.#publish();
  }

  /** The point that was saved last. */
  get saved(): Pick<SinkState, "position" | "ahead" | "lastSeq" | "rights"> {
    return this.#state;
  }

  get spooledMessages(): number {
    return this.#state.spooledMessages;
  }

  get spooledBytes(): number {
    return this.#state.spooledBytes;
  }

  get parked(): number {
    return this.#state.parked;
  }

  get trouble(): string | null {
    return this.#state.trouble;
  }

  /** When the oldest message that was not delivered arrived, in epoch milliseconds; `null` if all were. */
  get oldestMs(): number | null {
    return this.#state.oldestAt?.getTime() ?? null;
  }

  get isEmptying(): boolean {
    return this.#state.isEmptying;
  }

  /** The state of one save, with the position of this moment. */
  state(position: SinkPosition | null, lastSeq: number, ahead: readonly string[] = []): SinkState {
    this.#set({ position, ahead, lastSeq, saves: this.#state.saves + 1 });
    return this.#state;
  }

  noteDelivered(): void {
    this.#set({ delivered: this.#state.delivered + 1 });
    this.#metrics.sinkDelivered.inc({ sink: this.#name });
  }

  noteFailed(): void {
    this.#set({ failed: this.#state.failed + 1 });
    this.#metrics.sinkFailed.inc({ sink: this.#name });
  }

  /** A message has entered the spool, or has left it if its bytes are negative. */
  noteSpooled(bytes: number): void {
    const spooledMessages = Math.max(0, this.#state.spooledMessages + Math.sign(bytes));
    const spooledBytes = spooledMessages === 0 ? 0 : Math.max(0, this.#state.spooledBytes + bytes);
    this.#set({ spooledMessages, spooledBytes });
    this.#publish();
  }

  /** @param count How many messages were parked; negative if they are no longer parked. */
  noteParked(count: number): void {
    this.#set({ parked: Math.max(0, this.#state.parked + count) });
    if (count > 0) this.#metrics.sinkParked.inc({ sink: this.#name }, count);
    this.#publish();
  }

  noteLost(): void {
    this.#metrics.sinkLost.inc({ sink: this.#name });
  }

  noteTrouble(trouble: string | null): void {
    this.#set({ trouble });
  }

  /** @param oldestMs When the oldest message that was not delivered arrived; `null` if all were. */
  noteOldest(oldestMs: number | null, nowMs: number): void {
    this.#set({ oldestAt: oldestMs === null ? null : new Date(oldestMs) });
    const lag = oldestMs === null ? 0 : Math.max(0, nowMs - oldestMs) / 1_000;
    this.#metrics.sinkLag.set({ sink: this.#name }, lag);
  }

  /** This process does not run the sink any more. Its gauges must not go on saying what they said last. */
  retire(): void {
    const sink = this.#name;
    const { sinkLag, sinkSpooledMessages, sinkSpooledBytes, sinkParkedMessages } = this.#metrics;
    for (const gauge of [sinkLag, sinkSpooledMessages, sinkSpooledBytes, sinkParkedMessages])
      gauge.set({ sink }, 0);
  }

  /** The rights of the sink have changed. */
  noteRights(): void {
    this.#set({ rights: this.#state.rights + 1 });
  }

  /** The sink begins again, because changes are missing. */
  noteReset(lastReset: SinkNote): void {
    this.#set({ resets: this.#state.resets + 1, lastReset, freshSeq: this.#state.lastSeq });
  }

  /** The messages in the spool are given up. */
  dropSpool(): void {
    this.#set({ position: null, spooledMessages: 0, spooledBytes: 0, isEmptying: true });
    this.#publish();
  }

  noteEmptied(): void {
    this.#set({ isEmptying: false });
  }

  #set(change: Partial<SinkState>): void {
    this.#state = { ...this.#state, ...change };
  }

  #publish(): void {
    const sink = this.#name;
    this.#metrics.sinkSpooledMessages.set({ sink }, this.#state.spooledMessages);
    this.#metrics.sinkSpooledBytes.set({ sink }, this.#state.spooledBytes);
    this.#metrics.sinkParkedMessages.set({ sink }, this.#state.parked);
  }
}

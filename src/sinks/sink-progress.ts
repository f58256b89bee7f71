import type { SinkPosition } from "./sink-documents.ts";

interface Arrival {
  readonly seq: number;
  /** The point after it; `null` where a sink must not resume. */
  readonly position: SinkPosition | null;
  isSettled: boolean;
}

/**
 * The position up to which nothing is missing at the target. Messages are delivered concurrently, so that later ones may
 * be settled first. A message is settled when the target has it, or the state database.
 */
export class SinkProgress {
  #position: SinkPosition | null;
  #arrivals: Arrival[] = [];
  readonly #bySeq = new Map<number, Arrival>();

  constructor(position: SinkPosition | null) {
    this.#position = position;
  }

  /** Everything before this point is settled. */
  get position(): SinkPosition | null {
    return this.#position;
  }

  /** Messages that have arrived after the position. */
  get unsettled(): number {
    return this.#arrivals.length;
  }

  arrive(seq: number, position: SinkPosition | null): void {
    const arrival = { seq, position, isSettled: false };
    this.#arrivals.push(arrival);
    this.#bySeq.set(seq, arrival);
  }

  settle(seq: number): void {
    const arrival = this.#bySeq.get(seq);
    if (arrival === undefined) return;
    arrival.isSettled = true;
    this.#bySeq.delete(seq);
    let settled = 0;
    for (const { isSettled, position } of this.#arrivals) {
      if (!isSettled) break;
      settled++;
      this.#position = position ?? this.#position;
    }
    if (settled > 0) this.#arrivals.splice(0, settled);
  }
}

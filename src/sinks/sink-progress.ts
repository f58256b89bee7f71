import type { SinkPosition } from "./sink-documents.ts";

interface Arrival {
  readonly seq: number;
  /** The id of its message; `null` for a point without a message. */
  readonly id: string | null;
  /** The point after it; `null` where a sink must not resume. */
  readonly position: SinkPosition | null;
  isSettled: boolean;
}

/** Ids that are kept at most. They are part of every save. */
export const AHEAD_MAX = 200;

/**
 * The position up to which nothing is missing at the target, and the messages after it that are settled nevertheless.
 * Messages are delivered concurrently, so that later ones may be settled first. A message is settled when the target has
 * it, or the state database.
 */
export class SinkProgress {
  #position: SinkPosition | null;
  #arrivals: Arrival[] = [];
  readonly #bySeq = new Map<number, Arrival>();
  /** Whether a message that arrives again has the same id, and says the same. */
  readonly #hasLastingIds: boolean;
  /** Messages that an earlier run has settled, and that have not arrived again yet. */
  readonly #known: Set<string>;
  /** Settled messages of the commit that the position is not past. */
  #inCommit: string[] = [];

  /** @param ahead As the run before has left it; `null` if an id says nothing about a message of another run. */
  constructor(position: SinkPosition | null, ahead: readonly string[] | null = []) {
    this.#position = position;
    this.#hasLastingIds = ahead !== null;
    this.#known = new Set(ahead);
  }

  /** Everything before this point is settled. */
  get position(): SinkPosition | null {
    return this.#position;
  }

  /** The ids of messages after the position that are settled, at most `AHEAD_MAX`: the next run does not send them again. */
  get ahead(): readonly string[] {
    // Without a position, the next run begins with other messages.
    if (this.#position === null || !this.#hasLastingIds) return [];
    const ids = this.#arrivals.flatMap(({ isSettled, id }) => (isSettled && id !== null ? [id] : []));
    // Those of an earlier run come last, because some of them may never arrive again.
    return [...ids, ...this.#inCommit, ...this.#known].slice(0, AHEAD_MAX);
  }

  /** Messages that have arrived after the position. */
  get unsettled(): number {
    return this.#arrivals.length;
  }

  /** How many settled messages wait for an earlier one. */
  get held(): number {
    return this.#arrivals.length - this.#bySeq.size;
  }

  /**
   * @param id The id of the message; `null` for a point without one.
   * @returns Whether an earlier run has settled the message already.
   */
  arrive(seq: number, id: string | null, position: SinkPosition | null): boolean {
    const arrival = { seq, id, position, isSettled: false };
    this.#arrivals.push(arrival);
    this.#bySeq.set(seq, arrival);
    const isKnown = id !== null && this.#known.delete(id);
    if (isKnown) this.settle(seq);
    return isKnown;
  }

  settle(seq: number): void {
    const arrival = this.#bySeq.get(seq);
    if (arrival === undefined) return;
    arrival.isSettled = true;
    this.#bySeq.delete(seq);
    let settled = 0;
    for (const { isSettled, id, position } of this.#arrivals) {
      if (!isSettled) break;
      settled++;
      if (position !== null) {
        this.#position = position;
        this.#inCommit = [];
      } else if (id !== null && this.#inCommit.length < AHEAD_MAX) this.#inCommit.push(id);
    }
    if (settled > 0) this.#arrivals.splice(0, settled);
  }

  /** The messages after the position will not arrive again, because the sink begins from elsewhere. */
  forgetKnown(): void {
    this.#known.clear();
  }
}

/** A snapshot that holds encoded batches. */
export interface HoldsBatches {
  readonly batchBytes: number;
  readonly readers: number;
  /** Drops all batches but the last. A reader that still needs one of them reads the snapshot again. */
  shed(): void;
}

/**
 * Bounds the memory of all snapshots that are being sent or kept. A reader that takes its time would otherwise keep
 * megabytes of batches that it has received already, because another subscriber might join. Over the limit a snapshot
 * with at most one reader loses them first: it drives the read itself and needs only the last batch.
 */
export class SnapshotMemory {
  readonly #limitBytes: number;
  readonly #onShed: () => void;
  readonly #held = new Map<HoldsBatches, number>();
  #bytes = 0;
  /** The bytes left when everything had been shed; trying again below that would free nothing. */
  #leastBytes = 0;
  #isShedding = false;

  constructor(limitBytes: number, onShed: () => void) {
    this.#limitBytes = limitBytes;
    this.#onShed = onShed;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The bytes of a snapshot are different now. */
  note(snapshot: HoldsBatches): void {
    const { batchBytes } = snapshot;
    this.#bytes += batchBytes - (this.#held.get(snapshot) ?? 0);
    this.#held.set(snapshot, batchBytes);
    if (!this.#isShedding && this.#bytes > Math.max(this.#limitBytes, this.#leastBytes)) this.#shed(snapshot);
  }

  /** Nobody reads the snapshot, and nobody can join it. */
  forget(snapshot: HoldsBatches): void {
    this.#bytes -= this.#held.get(snapshot) ?? 0;
    this.#held.delete(snapshot);
  }

  #shed(grown: HoldsBatches): void {
    this.#isShedding = true;
    const all = [...this.#held].sort(([, a], [, b]) => b - a).map(([snapshot]) => snapshot);
    const alone = all.filter(({ readers }) => readers <= 1);
    const shared = all.filter(({ readers }) => readers > 1);
    // The one that grew is the cheapest to find, and mostly the one that pays.
    for (const snapshot of [...(grown.readers <= 1 ? [grown] : []), ...alone, ...shared]) {
      if (this.#bytes <= this.#limitBytes) break;
      const before = snapshot.batchBytes;
      snapshot.shed();
      if (snapshot.batchBytes < before) this.#onShed();
    }
    this.#leastBytes = this.#bytes > this.#limitBytes ? this.#bytes * RETRY_FACTOR : 0;
    this.#isShedding = false;
  }
}

/** How much more has to be held before it is worth looking again. */
const RETRY_FACTOR = 1.1;

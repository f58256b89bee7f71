/** A snapshot that keeps encoded batches. */
export interface HoldsBatches {
  readonly batchBytes: number;
  readonly readers: number;
  /** Drops all batches but the last. A reader that still needs one of them reads the snapshot again. */
  shed(): void;
}

/**
 * Bounds the memory of all snapshots that are being sent or kept. Otherwise a slow reader would keep megabytes of
 * batches that it has received already, only because another subscriber might join. Above the limit, snapshots with at
 * most one reader lose these batches first: such a reader drives the read itself and needs only the last batch.
 */
export class SnapshotMemory {
  readonly #limitBytes: number;
  readonly #onShed: () => void;
  readonly #held = new Map<HoldsBatches, number>();
  #bytes = 0;
  /** The bytes that were left after everything had been shed. Below that, another attempt would free nothing. */
  #leastBytes = 0;
  #isShedding = false;

  constructor(limitBytes: number, onShed: () => void) {
    this.#limitBytes = limitBytes;
    this.#onShed = onShed;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** To be called when the bytes of a snapshot have changed. */
  note(snapshot: HoldsBatches): void {
    const { batchBytes } = snapshot;
    this.#bytes += batchBytes - (this.#held.get(snapshot) ?? 0);
    this.#held.set(snapshot, batchBytes);
    if (!this.#isShedding && this.#bytes > Math.max(this.#limitBytes, this.#leastBytes)) this.#shed(snapshot);
  }

  /** To be called when nobody reads the snapshot and nobody can join it. */
  forget(snapshot: HoldsBatches): void {
    this.#bytes -= this.#held.get(snapshot) ?? 0;
    this.#held.delete(snapshot);
  }

  #shed(grown: HoldsBatches): void {
    this.#isShedding = true;
    const all = [...this.#held].sort(([, a], [, b]) => b - a).map(([snapshot]) => snapshot);
    const alone = all.filter(({ readers }) => readers <= 1);
    const shared = all.filter(({ readers }) => readers > 1);
    // The snapshot that has grown is at hand, and is mostly the one to shed.
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

/** How far the memory must grow before another attempt is worthwhile. */
const RETRY_FACTOR = 1.1;

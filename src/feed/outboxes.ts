// Summed on demand instead of counted: outboxes change with every write, and the sum is read rarely.
/** Buffers bytes: the outbox of one connection. */
interface Buffered {
  readonly bufferedBytes: number;
}

/** The outboxes of one user's connections to this node. */
export class Outboxes {
  readonly #all = new Set<Buffered>();

  get size(): number {
    return this.#all.size;
  }

  /** Bytes that wait in all of them. */
  get bytes(): number {
    let bytes = 0;
    for (const { bufferedBytes } of this.#all) bytes += bufferedBytes;
    return bytes;
  }

  add(outbox: Buffered): void {
    this.#all.add(outbox);
  }

  delete(outbox: Buffered): void {
    this.#all.delete(outbox);
  }
}

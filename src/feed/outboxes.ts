/** Buffers bytes: the outbox of one connection. */
interface Buffered {
  readonly bufferedBytes: number;
}

/**
 * The outboxes of one user's connections to this node. Their sum changes with everything that their clients read, so it is
 * only computed when it might exceed a limit: until then a bound is enough, which grows with each write. So a user with a
 * thousand connections does not cost a thousand look-ups for each write.
 */
export class Outboxes {
  readonly #all = new Set<Buffered>();
  /** At least the bytes that wait in all of them, apart from pings. */
  #mostBytes = 0;

  get size(): number {
    return this.#all.size;
  }

  /** Whether `size` more bytes would be within the limit. Both in bytes. */
  hasRoom(size: number, limitBytes: number): boolean {
    if (this.#mostBytes + size > limitBytes) this.#mostBytes = this.#sum();
    return this.#mostBytes + size <= limitBytes;
  }

  /** So many bytes more wait in one of them. */
  grew(bytes: number): void {
    this.#mostBytes += bytes;
  }

  add(outbox: Buffered): void {
    this.#all.add(outbox);
    this.grew(outbox.bufferedBytes);
  }

  delete(outbox: Buffered): void {
    this.#all.delete(outbox);
  }

  #sum(): number {
    let bytes = 0;
    for (const { bufferedBytes } of this.#all) bytes += bufferedBytes;
    return bytes;
  }
}

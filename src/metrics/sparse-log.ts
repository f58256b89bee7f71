/** The log has at most one line in this time, in milliseconds. */
const EVERY_MS = 60_000;

/**
 * Writes at most one line per minute about something that anybody can cause as often as they like. A log line for each
 * request would let a client fill the disk.
 */
export class SparseLog {
  #nextMs = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  /**
   * Writes a line, or counts it for the next one.
   * @param nowMs Of any clock that only advances.
   * @param write Takes the number of lines that were left out since the last one, as a field of the line.
   */
  write(nowMs: number, write: (more: { readonly unlogged?: number }) => void): void {
    if (nowMs < this.#nextMs) {
      this.#unlogged++;
      return;
    }
    this.#nextMs = nowMs + EVERY_MS;
    const more = this.#unlogged === 0 ? {} : { unlogged: this.#unlogged };
    this.#unlogged = 0;
    write(more);
  }
}

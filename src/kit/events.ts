/** Waits until `find` returns something else than undefined. The text says for what, for the error. */
export type Wait = <T>(find: () => T | undefined, what: string) => Promise<T>;

/** Waits for conditions that events may make true. */
export class Events {
  readonly #waiting = new Set<() => void>();

  /** Something has happened: every condition that is waited for is looked at again. */
  happened(): void {
    for (const look of [...this.#waiting]) look();
  }

  /**
   * Settles with the first value that is not undefined.
   * @param what What is waited for, for the error.
   * @throws {Error} Nothing within the time, in milliseconds.
   */
  async until<T>(find: () => T | undefined, what: string, timeoutMs: number): Promise<T> {
    const found = find();
    if (found !== undefined) return found;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let look: (() => void) | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        look = () => {
          try {
            const value = find();
            if (value !== undefined) resolve(value);
          } catch (error) {
            reject(error);
          }
        };
        this.#waiting.add(look);
        timer = setTimeout(() => reject(new Error(`not within ${timeoutMs / 1_000} s: ${what}`)), timeoutMs);
      });
    } finally {
      clearTimeout(timer);
      if (look !== undefined) this.#waiting.delete(look);
    }
  }
}

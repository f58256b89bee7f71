/** How long an answer is kept, in milliseconds. */
const KEPT_MS = 60_000;
/** Answers that are kept. The oldest is removed first. */
const KEPT_MAX = 100;

/** Keeps answers for a minute, because an editor asks for the same ones again and again. */
export class KeptForAWhile<T> {
  readonly #now: () => number;
  readonly #kept = new Map<string, { readonly endsMs: number; readonly answer: Promise<T> }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @returns The kept answer for this key, or a new one. A failure is not kept. */
  of(key: string, ask: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.#now() < kept.endsMs) return kept.answer;
    const answer = ask();
    this.#kept.delete(key);
    this.#kept.set(key, { endsMs: this.#now() + KEPT_MS, answer });
    answer.catch(() => {
      // The caller receives the error.
      if (this.#kept.get(key)?.answer === answer) this.#kept.delete(key);
    });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT_MAX && oldest !== undefined) this.#kept.delete(oldest);
    return answer;
  }
}

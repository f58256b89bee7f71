/** Compares what clients hold with what the server found at the same moment; the server is asked meanwhile. */
import { setTimeout as pause } from "node:timers/promises";
import { MongoError } from "mongodb";
import type { ValueMode } from "../../src/protocol/messages.ts";
import type { HeldQuery } from "./held-query.ts";
import { differencesOf, type Result } from "./oracle.ts";

/** The result at a cursor; `null` if the server cannot read that time any more. */
export type Find = (cursor: string, mode: ValueMode) => Promise<Result | null>;

/** A primary that has just been elected, or is about to be. */
const ATTEMPTS = 40;
const PAUSE_MS = 250;

export class Judge {
  readonly differences: string[] = [];
  readonly compared = { watermark: 0, change: 0, snapshot: 0 };
  unreadable = 0;
  readonly #asked = new Set<Promise<void>>();

  /**
   * @param what For people.
   * @param isSorted The order of the documents counts, too.
   */
  compare(
    held: HeldQuery,
    find: Find,
    by: keyof Judge["compared"],
    what: () => string,
    isSorted = false,
  ): void {
    const { cursor, mode } = held;
    const documents = new Map(held.documents);
    const order = isSorted ? [...held.order] : [];
    const asked = this.#patiently(() => find(cursor, mode))
      .then((found) => {
        if (found === null) {
          this.unreadable++;
          return;
        }
        this.compared[by]++;
        const differences = differencesOf(documents, found);
        if (differences.length === 0 && isSorted && order.join() !== [...found.keys()].join())
          differences.push(`order ${order.join()}, find gives ${[...found.keys()].join()}`);
        if (differences.length > 0)
          this.differences.push(`${by} ${cursor} ${what()}`, ...differences.slice(0, 5));
      })
      .catch((error: unknown) => this.differences.push(String(error)))
      .then(() => {
        this.#asked.delete(asked);
      });
    this.#asked.add(asked);
  }

  async settled(): Promise<void> {
    while (this.#asked.size > 0) await Promise.all(this.#asked);
  }

  async #patiently(find: () => Promise<Result | null>): Promise<Result | null> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await find();
      } catch (error) {
        if (!(error instanceof MongoError) || attempt === ATTEMPTS) throw error;
        await pause(PAUSE_MS);
      }
    }
  }
}

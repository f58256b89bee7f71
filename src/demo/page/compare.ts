import type { Client, Query } from "tidewire/client";
import { amount } from "../../protocol/amount.ts";
import type { Order } from "../order.ts";
import { api, pause } from "./api.ts";

/** The result of a comparison, and its text for the page. */
export interface Verdict {
  readonly isEqual: boolean;
  readonly text: string;
}

/** The service may be down, or the rules may have changed meanwhile. Then the page asks again. */
const ATTEMPTS = 20;
const BETWEEN_MS = 50;

/**
 * Asks for `find`, waits until all changes up to its time have arrived, and compares it with each result that the query has had
 * meanwhile. The backend keeps writing, so the last of these results may be newer than the answer.
 */
export async function compareWithFind(viewer: string, client: Client, query: Query<Order>): Promise<Verdict> {
  let found = "";
  const held = new Set<string>();
  const note = () => held.add(canonical(query.getState().data));
  // To follow a query that has stopped would ask for it again.
  // Not by the reports of the result: a report contains all changes that have arrived since the last one.
  const stop = query.getState().status === "stopped" ? () => {} : query.subscribe({ change: note });
  try {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      try {
        held.clear();
        note();
        const { docs, at } = await api.find({ viewer });
        const { status, data } = query.getState();
        if (docs === null) {
          const isEqual = status === "stopped" && data.length === 0;
          if (isEqual) return { isEqual, text: "nothing is shown, as no rule allows it" };
        } else if (status !== "stopped") {
          await client.fence(at);
          found = canonical(docs);
          if (held.has(found))
            return { isEqual: true, text: `equals find at ${time()}: ${amount(docs.length, "order")}` };
        }
      } catch (error) {
        // The client has disconnected again, or the service has just exited. It may come back meanwhile.
        if (attempt === ATTEMPTS) return { isEqual: false, text: `not compared: ${String(error)}` };
      }
      await pause(BETWEEN_MS);
    }
  } finally {
    stop();
  }
  return { isEqual: false, text: `differs from find: held ${[...held].at(-1)}, found ${found}` };
}

const time = () => new Date().toTimeString().slice(0, 8);

/** Sorts documents by `_id` and fields by name, because neither order has a meaning. */
function canonical(docs: readonly object[]): string {
  const texts = docs.map((doc) => {
    const fields = Object.entries(doc).sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify(Object.fromEntries(fields));
  });
  return texts.sort().join("\n");
}

import type { Client, Query } from "tidewire/client";
import { amount } from "../../protocol/amount.ts";
import type { Order } from "../order.ts";
import { api, pause } from "./api.ts";

/** The result of a comparison, and its text for the page. */
export interface Verdict {
  readonly isEqual: boolean;
  readonly text: string;
}

/** The backend keeps writing, so the result may be ahead of the answer. Then the page asks again. */
const ATTEMPTS = 20;
const BETWEEN_MS = 50;

/** Asks for `find` at a time, waits until all changes up to that time have arrived, and compares the two. */
export async function compareWithFind(viewer: string, client: Client, query: Query<Order>): Promise<Verdict> {
  let found = "";
  let held = "";
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      const { docs, at } = await api.find({ viewer });
      const { status, data } = query.getState();
      if (docs === null) {
        const isEqual = status === "stopped" && data.length === 0;
        if (isEqual) return { isEqual, text: "nothing is shown, as no rule allows it" };
      } else if (status !== "stopped") {
        await client.fence(at);
        found = canonical(docs);
        held = canonical(query.getState().data);
        if (held === found)
          return { isEqual: true, text: `equals find at ${time()}: ${amount(docs.length, "order")}` };
      }
    } catch (error) {
      // The client has disconnected again, or the service has just exited. It may come back meanwhile.
      if (attempt === ATTEMPTS) return { isEqual: false, text: `not compared: ${String(error)}` };
    }
    await pause(BETWEEN_MS);
  }
  return { isEqual: false, text: `differs from find: held ${held}, found ${found}` };
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

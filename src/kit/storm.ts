/** Writes to a collection while the connection of a client is cut again and again. */
import type { Db } from "mongodb";
import type { Wait } from "./events.ts";
import type { ClientProxy } from "./proxy.ts";
import type { Step } from "./scenario.ts";

type StormStep = Extract<Step, Record<"storm", unknown>>;

/** Few documents, so that each one changes often. */
const DOCUMENTS = 40;
const CHANGES = new Set<unknown>(["added", "changed", "removed"]);

/** Ends when all writes are done and the last connection that was cut is back. */
export async function storm(
  { collection, writes, cuts }: StormStep,
  db: Db,
  proxy: ClientProxy,
  wait: Wait,
): Promise<void> {
  const ended = new AbortController();
  const writing = write(db, collection, writes, ended.signal);
  try {
    for (let count = 0; count < cuts; count++) {
      const hasChanged = () =>
        proxy.connections.at(-1)?.passed.some(({ type }) => CHANGES.has(type)) || undefined;
      await wait(hasChanged, "a change on the connection");
      const before = proxy.connections.length;
      proxy.cut();
      await wait(() => proxy.connections.length > before || undefined, "another connection");
    }
  } finally {
    ended.abort();
    await writing;
  }
}

/** Inserts, updates, replaces and deletes in turn: at least so many writes, and until the end. */
async function write(db: Db, collection: string, writes: number, end: AbortSignal): Promise<void> {
  const notes = db.collection<{ _id: string; owner: string; n: number; rank: number }>(collection);
  for (let n = 0; n < writes || !end.aborted; n++) {
    const _id = `s${(n * 7) % DOCUMENTS}`;
    const rank = (n * 31) % 101;
    if (n % 5 === 4) await notes.deleteOne({ _id });
    else if (n % 5 === 3) await notes.updateOne({ _id }, { $set: { owner: n % 2 === 0 ? "u1" : "u2" } });
    else if (n % 5 === 2) await notes.replaceOne({ _id }, { owner: "u1", n, rank }, { upsert: true });
    else await notes.updateOne({ _id }, { $set: { owner: "u1", n, rank } }, { upsert: true });
  }
}

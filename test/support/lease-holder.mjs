/**
 * A process that competes for a lease, and counts up a number in its data for as long as it holds it. Each line of its
 * output is JSON: `held`, `saved`, `ended`. Times are those of the monotonic clock, which all processes of a machine share.
 */
import { MongoClient } from "mongodb";
import { pino } from "pino";
import { Lease } from "../../dist/source/lease.js";
import { LeaseStore } from "../../dist/source/lease-store.js";

const [uri, database, holder, ttlMs] = process.argv.slice(2);
const client = await new MongoClient(uri).connect();
const say = (line) => process.stdout.write(`${JSON.stringify({ ...line, holder, at: now() })}\n`);
const now = () => Number(process.hrtime.bigint() / 1_000_000n);
const parts = {
  store: new LeaseStore(client.db(database)),
  answer: (ask) => ask(),
  log: pino({ level: "silent" }),
  metrics: { unexpectedErrors: { inc: (labels) => say({ type: "fault", ...labels }) } },
};
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
while (!stop.signal.aborted) {
  const lease = new Lease({ name: "work", holder, ttlMs: Number(ttlMs) }, parts);
  const term = await lease.compete(stop.signal);
  if (term === null) break;
  const fence = Number(term.fence);
  say({ type: "held", fence });
  let n = term.data?.n ?? 0;
  while (term.isHeld && !stop.signal.aborted) {
    try {
      if (await term.save({ n: n + 1 })) say({ type: "saved", fence, n: ++n });
    } catch {
      break; // the result is unknown: the next term begins with what was saved
    }
  }
  await term.release();
  say({ type: "ended", fence, reason: term.signal.reason });
}
await client.close();
say({ type: "stopped" });

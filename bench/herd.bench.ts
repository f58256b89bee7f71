/**
 * A herd: 5,000 clients on 50 live queries are cut off, miss 100 changes each, and come back within a second, on real
 * sockets. `npm run bench:herd`; TIDEWIRE_HERD says how many.
 */
import { expect, test } from "vitest";
import { Herd, type Return } from "../test/support/herd.ts";

const CLIENTS = Number(process.env["TIDEWIRE_HERD"] ?? 5_000);
const LIVE_QUERIES = 50;
const MISSED = 100;

const rows: Record<string, unknown>[] = [];

function note(how: string, back: Return): void {
  console.log(`${how}: ${JSON.stringify(back)}`);
  rows.push({
    how,
    "time ms": back.ms,
    starts: JSON.stringify(back.starts),
    messages: back.messages,
    retries: back.retries,
    "snapshots read": back.snapshotsRead,
    "snapshots shared": back.snapshotsShared,
    "from history": back.catchUps.history,
    "from oplog": back.catchUps.oplog,
    "mongod find/aggregate/getMore": Object.values(back.commands).join("/"),
    different: back.different,
    faults: back.faults.length,
  });
  expect(back).toMatchObject({ different: 0, faults: [] });
  expect(back.snapshotsRead).toBeLessThanOrEqual(LIVE_QUERIES);
}

test("a herd", async () => {
  const herd = await Herd.start({ clients: CLIENTS, liveQueries: LIVE_QUERIES, historyBytes: "64MiB" });
  note("first time", await herd.join());
  note("back, out of the history", await herd.dropAndReturn(MISSED, "history"));
  note("back, as newcomers", await herd.dropAndReturn(MISSED, "newcomers"));
  herd.leave();
});

test("a herd that the history does not reach", async () => {
  const herd = await Herd.start({ clients: CLIENTS, liveQueries: LIVE_QUERIES, historyBytes: "1MiB" });
  await herd.join();
  note("back, out of the oplog", await herd.dropAndReturn(MISSED, "oplog"));
  herd.leave();
  console.log(`${CLIENTS} clients on ${LIVE_QUERIES} live queries, ${MISSED} changes missed by each`);
  console.table(rows);
});

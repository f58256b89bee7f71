/** Many clients that come back at once, on real sockets: `npm run bench:herd` does the same with ten times as many. */
import { expect, test } from "vitest";
import { Herd, type Return } from "../../support/herd.ts";

const CLIENTS = 500;
const LIVE_QUERIES = 50;
const MISSED = 100;
const FLAWLESS = { different: 0, faults: [] };

function told(how: string, { ms, snapshotsRead, catchUps, messages }: Return): void {
  console.log(
    `herd, ${how}: ${CLIENTS} clients on ${LIVE_QUERIES} live queries in ${ms} ms, ` +
      `${messages} messages, ${snapshotsRead} snapshots read, ${catchUps.oplog} catch-ups out of the oplog`,
  );
}

test("[G6] a herd that comes back within the history costs no read, and every client equals find", async () => {
  const herd = await Herd.start({ clients: CLIENTS, liveQueries: LIVE_QUERIES, historyBytes: "64MiB" });
  const joined = await herd.join();
  expect(joined).toMatchObject({ ...FLAWLESS, starts: { snapshot: CLIENTS } });
  expect(joined.snapshotsRead).toBeLessThanOrEqual(LIVE_QUERIES);
  const back = await herd.dropAndReturn(MISSED, "history");
  told("out of the history", back);
  expect(back).toMatchObject({ ...FLAWLESS, starts: { resumed: CLIENTS }, snapshotsRead: 0 });
  expect(back.catchUps).toEqual({ history: CLIENTS, oplog: 0 });
  const newcomers = await herd.dropAndReturn(MISSED, "newcomers");
  told("as newcomers", newcomers);
  expect(newcomers).toMatchObject({ ...FLAWLESS, starts: { snapshot: CLIENTS } });
  expect(newcomers.snapshotsRead).toBeLessThanOrEqual(LIVE_QUERIES);
  herd.leave();
});

test("[G6] a herd that comes back out of the oplog shares its reads, and every client equals find", async () => {
  const herd = await Herd.start({ clients: CLIENTS, liveQueries: LIVE_QUERIES, historyBytes: "1MiB" });
  await herd.join();
  const back = await herd.dropAndReturn(MISSED, "oplog");
  told("out of the oplog", back);
  expect(back).toMatchObject({ ...FLAWLESS, starts: { resumed: CLIENTS }, snapshotsRead: 0 });
  expect(back.catchUps).toEqual({ history: 0, oplog: CLIENTS });
  herd.leave();
});

/** The claims of a node that has ended: when the other nodes notice it, turn by turn, in the state database. */
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { Departures } from "../../../src/presence/departures.ts";
import { EMPTY_LOOKS } from "../../../src/presence/estates.ts";
import { LEASE_PREFIX, NodeLease } from "../../../src/presence/node-lease.ts";
import { OtherNodes } from "../../../src/presence/other-nodes.ts";
import { LeaseStore } from "../../../src/source/lease-store.ts";
import { PresenceStore } from "../../../src/source/presence-store.ts";
import { testDatabase } from "../../support/mongod.ts";
import { PATIENCE } from "../../support/presence.ts";

const TTL_MS = 50;

/** As a node does, in several turns if one takes too long. */
async function work(node: OtherNodes): Promise<void> {
  while (await node.work());
}

/** Two nodes, `a` and `b`, whose turns the test decides about, and the lease of a node `ended`, which it has released. */
async function setUp() {
  const { db } = await testDatabase();
  const leases = new LeaseStore(db);
  const store = new PresenceStore(db);
  await store.prepare();
  const entries = db.collection<{ _id: string; node: string }>("presence");
  const warnings: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) });
  let losesTakeOver = false;
  const answer = async <T>(ask: () => Promise<T>): Promise<T> => {
    const answered = await ask();
    const isTakeOver = typeof answered === "object" && answered !== null && "fence" in answered;
    if (!losesTakeOver || !isTakeOver) return answered;
    losesTakeOver = false;
    throw new Error("the answer was lost");
  };
  const start = async (id: string) => {
    const metrics = createMetrics();
    const own = new NodeLease(id, { store: leases, answer, metrics, log, entries: () => [] });
    const isHere = () => false;
    const departures = new Departures({
      leases,
      entries: store,
      answer,
      isHere,
      isClaimerMissing: (names) => others.isClaimerMissing(names),
      onDeleted: () => {},
    });
    const others: OtherNodes = new OtherNodes(TTL_MS, {
      leases,
      entries: store,
      answer,
      own,
      departures,
      isHere,
      log,
    });
    await own.start();
    onTestFinished(() => own.stop());
    return others;
  };
  const [a, b] = [await start("a"), await start("b")];
  const name = `${LEASE_PREFIX}ended`;
  await leases.take(name, null, "ended", 5_000, true);
  return {
    a,
    b,
    entries,
    warnings,
    /**
     * The node `ended` claims entries, and stops.
     * @param areSeen Whether the others look at its lease after it has claimed them, and not before.
     */
    async claimAndStop(ids: readonly string[], areSeen = true) {
      const lookAll = async () => {
        for (const node of [a, b]) {
          await node.look();
          await work(node);
        }
      };
      if (!areSeen) await lookAll();
      await leases.renewItems({ name, fence: 1n, holder: "ended" }, { add: ids });
      if (areSeen) await lookAll();
      await leases.release(name, 1n);
    },
    /** Looks until the node has taken the lease over, and works before it looks again, as a node does. */
    async takeOver(node: OtherNodes) {
      const isTaken = async () => {
        await node.look().catch(() => {}); // an answer was lost
        return (await leases.read(name))?.fence === 2n;
      };
      await expect.poll(isTaken, PATIENCE).toBe(true);
      await work(node);
    },
    /** The next node that takes a lease over receives no answer to that. */
    loseTakeOver: () => {
      losesTakeOver = true;
    },
    hasLease: async () => (await leases.read(name)) !== null,
    removeLease: () => leases.remove(name, 1n),
  };
}

test("entries that a node claimed which has ended go before the next look of the node that has taken its lease over", async () => {
  const { a, entries, warnings, claimAndStop, takeOver } = await setUp();
  await entries.insertMany([
    { _id: "ada", node: "a" },
    { _id: "eve", node: "ended" },
  ]);
  await claimAndStop(["ada"]);
  await takeOver(a);
  expect(await entries.distinct("_id")).toEqual([]);
  expect(warnings).toEqual([]);
});

test("every node sees that the claims of an ended node have ended, also if nothing names its lease any more", async () => {
  const { a, b, entries, warnings, claimAndStop, takeOver, hasLease } = await setUp();
  await entries.insertOne({ _id: "ada", node: "b" });
  await claimAndStop(["ada"]);
  await takeOver(a);
  for (let looks = 2; looks <= EMPTY_LOOKS; looks++) {
    expect(await hasLease()).toBe(true);
    await a.look();
    await work(a);
  }
  await b.look();
  await work(b);
  expect(await entries.distinct("_id")).toEqual([]);
  // The lease goes after that, and is not missed.
  await a.look();
  await work(a);
  expect(await hasLease()).toBe(false);
  await b.look();
  expect(b.isClaimerMissing(new Set([`${LEASE_PREFIX}a`, `${LEASE_PREFIX}b`]))).toBe(false);
  expect(warnings).toEqual([]);
});

test.for([
  { seen: "were seen", areSeen: true },
  { seen: "nobody had seen yet", areSeen: false },
])(
  "entries claimed by a lease that was removed go when it has been missing for its time and the ttl, if the claims $seen",
  async ({ areSeen }) => {
    const { a, entries, warnings, claimAndStop, removeLease } = await setUp();
    await entries.insertOne({ _id: "ada", node: "a" });
    await claimAndStop(["ada"], areSeen);
    await removeLease();
    const removedAtMs = performance.now();
    const isGone = async () => {
      await a.look();
      await work(a);
      return (await entries.countDocuments()) === 0;
    };
    // Long before the next walk through all entries.
    await expect.poll(isGone, { timeout: 30_000, interval: 20 }).toBe(true);
    expect(performance.now() - removedAtMs).toBeGreaterThan(5_000);
    expect(warnings).toHaveLength(1);
  },
);

test("a node that takes a lease over without an answer decides about its entries with the next look", async () => {
  const { a, entries, claimAndStop, takeOver, loseTakeOver } = await setUp();
  await entries.insertOne({ _id: "eve", node: "ended" });
  await claimAndStop([]);
  loseTakeOver();
  await takeOver(a);
  expect(await entries.distinct("_id")).toEqual(["eve"]);
  await a.look();
  await work(a);
  expect(await entries.distinct("_id")).toEqual([]);
});

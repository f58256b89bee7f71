/** The entries about which a node decides, in the state database: estates of dead nodes, and ends of claims. */
import { expect, test } from "vitest";
import { Departures, ROUND_MAX } from "../../../src/presence/departures.ts";
import { EMPTY_LOOKS, Estates, RESCAN_MS } from "../../../src/presence/estates.ts";
import { LEASE_PREFIX } from "../../../src/presence/node-lease.ts";
import { LeaseStore, REMOVED_MAX } from "../../../src/source/lease-store.ts";
import { PresenceStore } from "../../../src/source/presence-store.ts";
import { testDatabase } from "../../support/mongod.ts";

const answer = <T>(ask: () => Promise<T>) => ask();
const idOf = (i: number) => `e${String(i).padStart(6, "0")}`;
const ids = (count: number, from = 0) => Array.from({ length: count }, (_, i) => idOf(from + i));

/** A node named `own`, a node `other` that claims entries, and the estate of a node `dead`. */
async function setUp() {
  const { db } = await testDatabase();
  const store = new PresenceStore(db);
  const leases = new LeaseStore(db);
  await store.prepare();
  const entries = db.collection<{ _id: string; node: string }>("presence");
  const asked: number[] = [];
  const read: number[] = [];
  const departures = new Departures({
    leases: {
      itemsAmong: (prefix, items) => {
        asked.push(items.length);
        return leases.itemsAmong(prefix, items);
      },
    },
    entries: store,
    answer,
    isHere: (id) => here.has(id),
    isClaimerMissing: () => false,
    onDeleted: () => {},
  });
  const here = new Set<string>();
  const estates = new Estates(0, {
    leases,
    entries: {
      amongThoseOf: (nodes, some) => store.amongThoseOf(nodes, some),
      idsOf: async (node, after, limit) => {
        const found = await store.idsOf(node, after, limit);
        read.push(found.length);
        return found;
      },
    },
    answer,
    own: { node: "own", holder: "own" },
    departures,
    isHere: (id) => here.has(id),
  });
  const other = { name: `${LEASE_PREFIX}other`, fence: 1n, holder: "other" };
  await leases.take(other.name, null, "other", 5_000);
  const taken = await leases.take(`${LEASE_PREFIX}dead`, null, "own", 5_000);
  if (taken === null) throw new Error("the lease is there");
  return {
    db,
    entries,
    leases,
    here,
    asked,
    read,
    departures,
    estates,
    adopt: () => estates.add("dead", taken.fence),
    insert: (node: string, some: readonly string[]) =>
      entries.insertMany(
        some.map((_id) => ({ _id, node })),
        { ordered: false },
      ),
    claim: (some: readonly string[]) => leases.renewItems(other, { add: some }),
    unclaim: (some: readonly string[]) => leases.renewItems(other, { remove: some }),
    workAll: async (nowMs = 0) => {
      while (await estates.work(nowMs));
    },
    /** This node has taken the lease over so long ago that all others have seen it. */
    lookOften: async () => {
      for (let looks = 0; looks <= EMPTY_LOOKS; looks++) await estates.looked(0);
    },
    left: () => entries.countDocuments(),
    hasLease: async () => (await leases.read(`${LEASE_PREFIX}dead`)) !== null,
  };
}

test("an estate of more than 50,000 entries goes in batches, none is left behind, and those that are claimed stay without being remembered", async () => {
  const { adopt, insert, claim, unclaim, workAll, left, asked, read, departures, estates, hasLease } =
    await setUp();
  await insert("dead", ids(52_000));
  // The first 51,000 in the order of a walk: none of these may hide the others.
  await claim(ids(51_000));
  adopt();
  await workAll();
  expect(await left()).toBe(51_000);
  expect(Math.max(...read)).toBe(ROUND_MAX);
  expect(departures.size).toBe(0);
  expect(await hasLease()).toBe(true);
  await unclaim(ids(6_000, 20_000));
  estates.walkAll();
  await workAll();
  expect(await left()).toBe(45_000);
  expect(Math.max(...asked)).toBe(ROUND_MAX);
});

test("the lease of a dead node stays as long as an entry names it", async () => {
  const { adopt, insert, claim, unclaim, workAll, estates, lookOften, hasLease } = await setUp();
  await insert("dead", ["a", "b", "c"]);
  await claim(["a", "b"]);
  adopt();
  await lookOften();
  await workAll();
  await unclaim(["a"]);
  await estates.claimsEnded(["a"]);
  await workAll();
  expect(await hasLease()).toBe(true);
  await unclaim(["b"]);
  await estates.claimsEnded(["b"]);
  await workAll();
  expect(await hasLease()).toBe(false);
});

test("the end of a claim costs one look at its entry, however many others are claimed", async () => {
  const { adopt, insert, claim, unclaim, workAll, left, asked, read, estates, entries, lookOften } =
    await setUp();
  await insert("dead", ids(7_000));
  await insert("own", ids(7_000, 10_000));
  await claim([...ids(7_000), ...ids(7_000, 10_000)]);
  adopt();
  await lookOften();
  await workAll();
  asked.length = 0;
  read.length = 0;
  const ended = [...ids(3), ...ids(2, 10_000)];
  await unclaim(ended);
  // Those of the other node itself are none of this node's business.
  await insert("other", ["theirs"]);
  await estates.claimsEnded([...ended, "theirs", "unknown"]);
  await workAll();
  expect(await left()).toBe(13_996);
  expect(asked).toEqual([5]);
  // One question whether the estate is empty.
  expect(read).toEqual([1]);
  expect(await entries.countDocuments({ _id: { $in: ended } })).toBe(0);
});

test("an entry that was written late for a lease that was taken over goes with the next walk, and those of clients who are elsewhere stay", async () => {
  const { adopt, insert, claim, workAll, left, here, entries } = await setUp();
  await insert("dead", ["claimed", "here"]);
  await claim(["claimed"]);
  here.add("here");
  adopt();
  await workAll();
  expect(await left()).toBe(2);
  await insert("dead", ["late"]);
  await insert("own", ["unnoticed"]);
  await workAll(RESCAN_MS - 1);
  expect(await left()).toBe(4);
  for (let turn = 0; turn < 4; turn++) await workAll(RESCAN_MS);
  expect(await entries.distinct("_id")).toEqual(["claimed", "here"]);
});

test("a lease names the items that were removed since it was seen, and says when it does not have all of them", async () => {
  const { leases, claim, unclaim } = await setUp();
  const name = `${LEASE_PREFIX}other`;
  await claim(ids(5_000));
  const since = async () => {
    const found = (await leases.list(LEASE_PREFIX)).find((lease) => lease.name === name);
    if (found === undefined) throw new Error("there is no lease");
    return found.removals;
  };
  const first = await since();
  await unclaim(ids(2));
  const second = await since();
  await unclaim(ids(3, 2));
  const [known] = await leases.removedItems(new Map([[name, second]]));
  expect(known).toEqual({ name, removals: second + 3n, items: ids(3, 2) });
  const [all] = await leases.removedItems(
    new Map([
      [name, first],
      ["presence/none", 0n],
    ]),
  );
  expect(all?.items).toEqual(ids(5));
  await unclaim(ids(REMOVED_MAX - 5, 5));
  expect((await leases.removedItems(new Map([[name, first]])))[0]?.items).toHaveLength(REMOVED_MAX);
  await unclaim(ids(1, REMOVED_MAX));
  expect((await leases.removedItems(new Map([[name, first]])))[0]?.items).toBeNull();
  const [recent] = await leases.removedItems(new Map([[name, await since()]]));
  expect(recent?.removals).toBe(first + BigInt(REMOVED_MAX + 1));
});

test("a lease that was removed and made again by another process is not renewed by the one before", async () => {
  const { leases } = await setUp();
  const name = `${LEASE_PREFIX}dead`;
  await leases.remove(name, 1n);
  await leases.take(name, null, "adopter", 5_000);
  expect(await leases.renewItems({ name, fence: 1n, holder: "own" }, null)).toBe(false);
  expect(await leases.renewItems({ name, fence: 1n, holder: "adopter" }, null)).toBe(true);
});

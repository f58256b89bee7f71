/** The deletion of entries that nobody keeps, over leases and entries that a test controls. */
import { expect, test } from "vitest";
import { Departures } from "../../../src/presence/departures.ts";
import type { EntryWrite } from "../../../src/source/presence-store.ts";

function setUp() {
  const claimed = new Set<string>();
  const here = new Set<string>();
  const asked: string[][] = [];
  const written: EntryWrite[] = [];
  let beforeAnswer = async () => {};
  let isDown = false;
  let isMissing = false;
  const departures = new Departures({
    leases: {
      itemsAmong: async (_prefix, items) => {
        asked.push([...items]);
        await beforeAnswer();
        return { items: new Set(items.filter((id) => claimed.has(id))), names: new Set() };
      },
    },
    entries: {
      write: async (writes) => {
        if (isDown) throw new Error("down");
        written.push(...writes);
      },
    },
    answer: (ask) => ask(),
    isHere: (id) => here.has(id),
    isClaimerMissing: () => isMissing,
    onDeleted: () => {},
  });
  return {
    departures,
    claimed,
    here,
    asked,
    written,
    setDown: (down: boolean) => {
      isDown = down;
    },
    setMissing: (missing: boolean) => {
      isMissing = missing;
    },
    meanwhile: (run: () => void) => {
      beforeAnswer = async () => run();
    },
  };
}

test("deletes the entries that no node claims, as long as they name their lease", async () => {
  const { departures, claimed, written } = setUp();
  for (const id of ["a", "b", "c"]) departures.add(id, "n1");
  claimed.add("b");
  await departures.run();
  expect(written).toEqual([
    { delete: "a", node: "n1" },
    { delete: "c", node: "n1" },
  ]);
});

test("keeps no entry that another node claims, and asks about it once", async () => {
  const { departures, claimed, asked, written } = setUp();
  departures.add("a", "n1");
  claimed.add("a");
  expect(await departures.run()).toBe(true);
  expect(await departures.run()).toBe(true);
  expect(asked).toEqual([["a"]]);
  expect(departures.size).toBe(0);
  expect(written).toEqual([]);
});

test("decides nothing while a lease that may claim entries is missing", async () => {
  const { departures, written, setMissing } = setUp();
  departures.add("a", "n1");
  setMissing(true);
  expect(await departures.run()).toBe(false);
  expect(departures.size).toBe(1);
  expect(written).toEqual([]);
  setMissing(false);
  expect(await departures.run()).toBe(true);
  expect(written).toEqual([{ delete: "a", node: "n1" }]);
});

test("an entry whose client is on this node is not deleted, even if its claim is not saved yet", async () => {
  const { departures, here, written } = setUp();
  departures.add("a", "dead");
  here.add("a");
  await departures.run();
  expect(written).toEqual([]);
  here.clear();
  departures.add("a", "dead");
  await departures.run();
  expect(written).toEqual([{ delete: "a", node: "dead" }]);
});

test("an entry whose client returns while the claims are read is not deleted", async () => {
  const { departures, written, meanwhile } = setUp();
  departures.add("a", "n1");
  meanwhile(() => void departures.cancel("a"));
  await departures.run();
  expect(written).toEqual([]);
  expect(departures.size).toBe(0);
});

test("a return waits for a deletion that is in progress", async () => {
  const { departures, written } = setUp();
  departures.add("a", "n1");
  const running = departures.run();
  await departures.cancel("b");
  await running;
  expect(written).toHaveLength(1);
});

test("what cannot be deleted is deleted later", async () => {
  const { departures, written, setDown } = setUp();
  departures.add("a", null);
  setDown(true);
  await expect(departures.run()).rejects.toThrow("down");
  expect(departures.size).toBe(1);
  setDown(false);
  await departures.run();
  expect(written).toEqual([{ delete: "a" }]);
});

test("thousands are decided in rounds", async () => {
  const { departures, claimed, asked, written } = setUp();
  for (let i = 0; i < 12_000; i++) departures.add(`e${i}`, "n1");
  for (let i = 0; i < 12_000; i += 2) claimed.add(`e${i}`);
  await departures.run();
  expect(asked.map(({ length }) => length)).toEqual([5_000, 5_000, 2_000]);
  expect(written).toHaveLength(6_000);
  expect(departures.size).toBe(0);
});

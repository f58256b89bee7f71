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
  const departures = new Departures({
    leases: {
      itemsAmong: async (_prefix, items) => {
        asked.push([...items]);
        await beforeAnswer();
        return new Set(items.filter((id) => claimed.has(id)));
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
  expect(departures.countOf("n1")).toBe(1);
});

test("asks about a claimed entry again only after claims have ended somewhere", async () => {
  const { departures, claimed, asked, written } = setUp();
  departures.add("a", "n1");
  claimed.add("a");
  await departures.run();
  await departures.run();
  expect(asked).toEqual([["a"]]);
  claimed.clear();
  departures.lookAgain();
  await departures.run();
  expect(written).toEqual([{ delete: "a", node: "n1" }]);
  expect(departures.size).toBe(0);
});

test("an entry whose client is on this node is not deleted, even if its claim is not saved yet", async () => {
  const { departures, here, written } = setUp();
  departures.add("a", "dead");
  here.add("a");
  await departures.run();
  expect(written).toEqual([]);
  here.clear();
  departures.lookAgain();
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
  for (let i = 0; i < 5_000; i++) departures.add(`e${i}`, "n1");
  for (let i = 0; i < 5_000; i += 2) claimed.add(`e${i}`);
  await departures.run();
  expect(asked.length).toBeGreaterThan(2);
  expect(written).toHaveLength(2_500);
  expect(departures.countOf("n1")).toBe(2_500);
  departures.forgetAllOf("n1");
  expect(departures.size).toBe(0);
});

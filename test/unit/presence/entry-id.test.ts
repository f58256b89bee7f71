import { expect, test } from "vitest";
import { EntryCounts } from "../../../src/presence/entry-counts.ts";
import { entryIdOf } from "../../../src/presence/entry-id.ts";

test("the id of an entry depends on user, tab and room, and on where one ends and the next begins", () => {
  const ids = [
    entryIdOf("u", "t", "r"),
    entryIdOf("u", "t", "r2"),
    entryIdOf("u", "t2", "r"),
    entryIdOf("u2", "t", "r"),
    entryIdOf("u", 't","r', ""),
  ];
  expect(new Set(ids).size).toBe(ids.length);
  expect(entryIdOf("u", "t", "r")).toBe(ids[0]);
  for (const id of ids) expect(id).toMatch(/^[\w-]{22}$/);
});

test("entries are counted by user and by tab, and forgotten at zero", () => {
  const counts = new EntryCounts();
  const [one, two] = [
    { user: "u", tab: "1" },
    { user: "u", tab: "2" },
  ];
  counts.add(one, 1);
  counts.add(one, 1);
  counts.add(two, 1);
  expect([counts.ofUser(one), counts.ofTab(one), counts.ofTab(two)]).toEqual([3, 2, 1]);
  counts.add(one, -1);
  counts.add(one, -1);
  counts.add(two, -1);
  expect([counts.ofUser(one), counts.ofTab(one)]).toEqual([0, 0]);
});

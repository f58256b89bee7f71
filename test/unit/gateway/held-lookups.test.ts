import { expect, test } from "vitest";
import type { Feed } from "../../../src/feed/feed.ts";
import { LookupSet } from "../../../src/feed/lookup-set.ts";
import { HeldLookups } from "../../../src/gateway/connection/held-lookups.ts";
import { parseFilter } from "../../../src/match/parse-filter.ts";

const SPEC = {
  key: "rooms",
  database: "db",
  collectionName: "members",
  filter: parseFilter({}, { regex: "prefix" }),
  value: "room",
};

test("a set that was lost just after it was read is read again, because nobody keeps it up to date", async () => {
  const [lost, kept] = [new LookupSet(SPEC), new LookupSet(SPEC)];
  const answers = [lost, kept];
  const released: LookupSet[] = [];
  const lookups = {
    acquire: async () => answers.shift(),
    keeps: (set: LookupSet) => set === kept,
    release: (set: LookupSet) => void released.push(set),
  };
  const owner = { rightsChanged: () => expect.unreachable(), rightsFailed: () => expect.unreachable() };
  const held = new HeldLookups({ lookups } as unknown as Feed, owner, null);
  await held.acquire([SPEC]);
  expect(held.sets).toEqual([kept]);
  expect([lost.holders.size, kept.holders.size, released]).toEqual([0, 1, [lost]]);
});

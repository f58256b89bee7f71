import { pino } from "pino";
import { expect, test } from "vitest";
import { LostRights } from "../../../src/gateway/rights/lost-rights.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";

const NOW_MS = 1_700_000_000_000;

/** The memory that nodes share, as a map. The first `failures` saves and loads fail. */
function setup(entries = 3, failures = 0) {
  const saved = new Map<string, bigint>();
  const calls: string[] = [];
  const failOnce = () => {
    if (failures-- > 0) throw new Error("no server");
  };
  const store = {
    save: async (ids: readonly string[]) => {
      calls.push(`save ${ids.length}`);
      failOnce();
      for (const id of ids) saved.set(id, 100n);
    },
    load: async (ids: readonly string[]) => {
      calls.push(`load ${ids.length}`);
      failOnce();
      return new Map([...saved].filter(([id]) => ids.includes(id)));
    },
  };
  const node = () =>
    new LostRights(
      { maxAgeMs: 1_000, entries },
      { store, log: pino({ level: "silent" }), metrics: createMetrics() },
    );
  return { node, calls };
}

test("a node knows its own note at once, and the other nodes learn it from the state database", async () => {
  const { node } = setup();
  const [a, b] = [node(), node()];
  a.note("ada", "orders", 7n, NOW_MS);
  expect(a.knownAt("ada", "orders")).toBe(7n);
  expect(a.knownAt("ada", "notes")).toBeNull();
  expect(a.knownAt("bob", "orders")).toBeNull();
  await a.saved();
  expect(b.knownAt("ada", "orders")).toBeNull();
  expect(await b.at("ada", "orders")).toBe(100n);
  expect(await b.at("bob", "orders")).toBeNull();
});

test("the later of what a node and the database know counts", async () => {
  const { node } = setup();
  const a = node();
  a.note("ada", "orders", 7n, NOW_MS);
  await a.saved();
  expect(await a.at("ada", "orders")).toBe(100n);
  a.note("ada", "orders", 200n, NOW_MS);
  await a.saved();
  expect(await a.at("ada", "orders")).toBe(200n);
});

test("those who ask in one turn share a read, and those who lose rights in one turn a save", async () => {
  const { node, calls } = setup(100);
  const a = node();
  for (let i = 0; i < 20; i++) a.note(`u${i}`, "orders", 7n, NOW_MS);
  await a.saved();
  await Promise.all(Array.from({ length: 20 }, (_, i) => a.at(`u${i}`, "orders")));
  expect(calls).toEqual(["save 20", "load 20"]);
});

test("a node remembers so many and no more, and none beyond its age", () => {
  const { node } = setup(3);
  const a = node();
  for (let i = 0; i < 4; i++) a.note(`u${i}`, "orders", 7n, NOW_MS);
  expect(a.size).toBe(3);
  expect(a.knownAt("u0", "orders")).toBeNull();
  expect(a.knownAt("u3", "orders")).toBe(7n);
  a.note("late", "orders", 7n, NOW_MS + 1_000);
  expect(a.size).toBe(1);
});

test("a save that fails is tried again until it succeeds; a read that fails refuses the resumption", async () => {
  const { node, calls } = setup(3, 2);
  const a = node();
  await expect(a.at("ada", "orders")).rejects.toMatchObject({ code: "unavailable", retry: "later" });
  a.note("ada", "orders", 7n, NOW_MS);
  expect(a.unsaved).toBe(1);
  await a.saved();
  expect(calls).toEqual(["load 1", "save 1", "save 1"]);
  expect(a.unsaved).toBe(0);
});

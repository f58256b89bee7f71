import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { type Loss, LostRights } from "../../../src/gateway/rights/lost-rights.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";

const NOW_MS = 1_700_000_000_000;

/** The memory that nodes share, as a map. The first `failures` saves and loads fail. */
function setup(entries = 3, failures = 0) {
  const saved = new Map<string, Loss>();
  const calls: string[] = [];
  const failOnce = () => {
    if (failures-- > 0) throw new Error("no server");
  };
  const store = {
    save: async (marks: ReadonlyMap<string, string>) => {
      calls.push(`save ${marks.size}`);
      failOnce();
      for (const [id, mark] of marks) saved.set(id, { at: 100n, mark });
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
  expect(a.known("ada", "orders")?.at).toBe(7n);
  expect(a.known("ada", "notes")).toBeNull();
  expect(a.known("bob", "orders")).toBeNull();
  await a.saved();
  expect(b.known("ada", "orders")).toBeNull();
  expect((await b.last("ada", "orders", NOW_MS))?.at).toBe(100n);
  expect(await b.last("bob", "orders", NOW_MS)).toBeNull();
});

test("the later of what a node and the database know counts", async () => {
  const { node } = setup();
  const a = node();
  a.note("ada", "orders", 7n, NOW_MS);
  await a.saved();
  expect((await a.last("ada", "orders", NOW_MS))?.at).toBe(100n);
  a.note("ada", "orders", 200n, NOW_MS);
  await a.saved();
  expect((await a.last("ada", "orders", NOW_MS))?.at).toBe(200n);
});

test("every node learns the mark of a loss, and each loss has a mark of its own", async () => {
  const { node } = setup();
  const [a, b] = [node(), node()];
  a.note("ada", "orders", 7n, NOW_MS);
  const first = a.known("ada", "orders")?.mark;
  await a.saved();
  expect((await b.last("ada", "orders", NOW_MS))?.mark).toBe(first);
  expect(b.known("ada", "orders")?.mark).toBe(first);
  b.note("ada", "orders", 7n, NOW_MS);
  const second = b.known("ada", "orders")?.mark;
  expect(second).not.toBe(first);
  // A loss that is still to be saved counts before the saved one.
  expect((await b.last("ada", "orders", NOW_MS))?.mark).toBe(second);
  await b.saved();
  expect((await a.last("ada", "orders", NOW_MS))?.mark).toBe(second);
});

test("those who ask in one turn share a read, and those who lose rights in one turn a save", async () => {
  const { node, calls } = setup(100);
  const a = node();
  for (let i = 0; i < 20; i++) a.note(`u${i}`, "orders", 7n, NOW_MS);
  await a.saved();
  await Promise.all(Array.from({ length: 20 }, (_, i) => a.last(`u${i}`, "orders", NOW_MS)));
  expect(calls).toEqual(["save 20", "load 20"]);
});

test("a node remembers so many and no more, and none beyond its age", () => {
  const { node } = setup(3);
  const a = node();
  for (let i = 0; i < 4; i++) a.note(`u${i}`, "orders", 7n, NOW_MS);
  expect(a.size).toBe(3);
  expect(a.known("u0", "orders")).toBeNull();
  expect(a.known("u3", "orders")?.at).toBe(7n);
  a.note("late", "orders", 7n, NOW_MS + 1_000);
  expect(a.size).toBe(1);
});

test("a save that fails is tried again until it succeeds; a read that fails refuses the resumption", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { node, calls } = setup(3, 2);
  const a = node();
  const failing = a.last("ada", "orders", NOW_MS);
  void vi.advanceTimersByTimeAsync(0);
  await expect(failing).rejects.toMatchObject({
    code: "unavailable",
    retry: "later",
  });
  a.note("ada", "orders", 7n, NOW_MS);
  expect(a.unsaved).toBe(1);
  await vi.advanceTimersByTimeAsync(999);
  expect(calls).toEqual(["load 1", "save 1"]);
  await vi.advanceTimersByTimeAsync(1);
  await a.saved();
  expect(calls).toEqual(["load 1", "save 1", "save 1"]);
  expect(a.unsaved).toBe(0);
});

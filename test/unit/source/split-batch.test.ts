import { expect, test } from "vitest";
import type { Commit } from "../../../src/source/change-event.ts";
import type { CommitBatch } from "../../../src/source/read-commits.ts";
import { splitBatch } from "../../../src/source/split-batch.ts";

const TOKEN = new Uint8Array([1]);
const RULES = new Set(["state.ruleSets"]);

const commit = (clusterTime: bigint, namespace: string): Commit => ({
  events: [{ operation: "replaced-collection", namespace, by: "drop" }],
  clusterTime,
  identity: `${clusterTime} ${namespace}`,
  bytes: 1,
  wallTimeMs: null,
});
const plain = (clusterTime: bigint) => commit(clusterTime, "shop.items");
const rules = (clusterTime: bigint) => commit(clusterTime, "state.ruleSets");

const batchOf = (...commits: Commit[]): CommitBatch => ({
  commits,
  through: 99n,
  resumeToken: TOKEN,
  invalidated: undefined,
});
const timesOf = (parts: readonly CommitBatch[]) =>
  parts.map(({ commits }) => commits.map(({ clusterTime }) => clusterTime));

test("a batch without such a commit stays the same object", () => {
  const batch = batchOf(plain(1n), plain(2n));
  expect([...splitBatch(batch, RULES)]).toEqual([batch]);
  expect([...splitBatch(batch, RULES)][0]).toBe(batch);
  const edit = batchOf(rules(1n), plain(2n));
  expect([...splitBatch(edit, new Set())][0]).toBe(edit);
});

test.each([
  [[rules(1n)], [[1n]]],
  [
    [rules(1n), plain(2n)],
    [[1n], [2n]],
  ],
  [
    [plain(1n), rules(2n)],
    [[1n], [2n]],
  ],
  [
    [plain(1n), plain(2n), rules(3n), plain(4n), plain(5n)],
    [[1n, 2n], [3n], [4n, 5n]],
  ],
  [
    [rules(1n), rules(2n), plain(3n)],
    [[1n], [2n], [3n]],
  ],
  [
    [plain(1n), plain(2n), rules(2n), plain(2n), plain(3n)],
    [[1n], [2n, 2n, 2n], [3n]],
  ],
])("divides before and after the cluster time of such a commit (%#)", (commits, expected) => {
  const parts = [...splitBatch(batchOf(...commits), RULES)];
  expect(timesOf(parts)).toEqual(expected);
  // A part has reached its last commit. Only the last part has reached the end of the batch.
  expect(parts.map(({ through }) => through)).toEqual([
    ...expected.slice(0, -1).map((times) => times.at(-1)),
    99n,
  ]);
  expect(parts.map(({ resumeToken }) => resumeToken)).toEqual([
    ...expected.slice(1).map(() => undefined),
    TOKEN,
  ]);
});

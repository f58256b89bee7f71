import { expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { Commit } from "../../../src/source/change-event.ts";
import { CommitIntake } from "../../../src/source/commit-intake.ts";
import type { CommitBatch } from "../../../src/source/read-commits.ts";
import { StreamPosition } from "../../../src/source/stream-position.ts";
import { recordingLog } from "../../support/node.ts";

const SCOPE = { epoch: "0123abcd", fingerprint: "f" };
const TOKEN = new Uint8Array([1]);

const commitAt = (clusterTime: bigint, identity = `commit-${clusterTime}`): Commit => ({
  events: [],
  clusterTime,
  identity,
  bytes: 100,
  wallTimeMs: null,
});

const batchOf = (
  through: bigint,
  commits: readonly Commit[] = [],
  resumeToken?: Uint8Array,
): CommitBatch => ({
  commits,
  through,
  resumeToken,
  invalidated: undefined,
});

function start(accept: (batch: CommitBatch) => Promise<void> = async () => {}) {
  const position = new StreamPosition();
  position.begin(1n);
  const noted: bigint[] = [];
  const accepted: string[][] = [];
  const { log, warnings } = recordingLog();
  const intake = new CommitIntake({
    sink: {
      accept: async (batch) => {
        await accept(batch);
        accepted.push(batch.commits.map(({ identity }) => identity));
      },
    },
    position,
    checkpoints: { note: ({ clusterTime }) => noted.push(clusterTime) },
    log,
    metrics: createMetrics(),
  });
  return { intake, position, noted, accepted, warnings };
}

test("the position and the checkpoint move on when a batch has been accepted, and not before", async () => {
  const sink = deferred();
  const { intake, position, noted } = start(() => sink.promise);
  const taking = intake.take(batchOf(5n, [commitAt(5n)], TOKEN), SCOPE);
  await Promise.resolve();
  expect([position.through, position.next, noted]).toEqual([1n, { atTime: 1n }, []]);
  sink.resolve();
  await taking;
  expect([position.through, position.next, noted]).toEqual([5n, { resumeAfter: TOKEN }, [5n]]);
});

test("a batch that is not accepted leaves the position and the checkpoint where they were", async () => {
  const { intake, position, noted } = start(() => Promise.reject(new Error("full")));
  await expect(intake.take(batchOf(5n, [commitAt(5n)], TOKEN), SCOPE)).rejects.toThrow("full");
  expect([position.through, position.next, noted]).toEqual([1n, { atTime: 1n }, []]);
});

test("a batch that ends inside a transaction moves the position, but leaves no checkpoint", async () => {
  const { intake, position, noted } = start();
  await intake.take(batchOf(5n), SCOPE);
  expect([position.through, noted]).toEqual([5n, []]);
});

test("a stream that goes back is logged, and its known commits are dropped", async () => {
  const { intake, accepted, warnings } = start();
  await intake.take(batchOf(5n, [commitAt(4n), commitAt(5n)], TOKEN), SCOPE);
  await intake.take(batchOf(3n), SCOPE);
  expect(warnings()).toHaveLength(1);
  await intake.take(batchOf(6n, [commitAt(4n), commitAt(5n), commitAt(6n)], TOKEN), SCOPE);
  expect(accepted).toEqual([["commit-4", "commit-5"], [], ["commit-6"]]);
});

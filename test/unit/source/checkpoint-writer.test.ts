import { expect, onTestFinished, test, vi } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { CheckpointWriter, type SavesCheckpoints } from "../../../src/source/checkpoint-writer.ts";
import { recordingLog } from "../../support/node.ts";

const checkpoint = { token: new Uint8Array(), clusterTime: 1n, epoch: "00000000", fingerprint: "f" };

function writerTo(save: SavesCheckpoints["save"], saveInTurn = save) {
  const { log, warnings } = recordingLog();
  const store = { save, saveInTurn };
  const metrics = createMetrics();
  return { writer: new CheckpointWriter(store, 60_000, { log, metrics }), warnings, metrics };
}

test("the last position is saved when the service stops", async () => {
  const saved: unknown[] = [];
  const { writer, warnings } = writerTo(async (given) => void saved.push(given));
  writer.note(checkpoint);
  await writer.stop();
  expect(saved).toEqual([checkpoint]);
  expect(warnings()).toEqual([]);
});

test("the last position is saved even if another process saves in turn", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const calls: string[] = [];
  const { writer } = writerTo(
    async () => void calls.push("save"),
    async () => void calls.push("in turn"),
  );
  writer.note(checkpoint);
  await vi.advanceTimersByTimeAsync(60_000);
  writer.note({ ...checkpoint, clusterTime: 2n });
  await writer.stop();
  expect(calls).toEqual(["in turn", "save"]);
});

test("an unexpected error of a save is contained and counted, and the next interval saves", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const saved: unknown[] = [];
  const bug = [true];
  const { writer, metrics } = writerTo((given) => {
    if (bug.pop()) throw new TypeError("a bug");
    saved.push(given);
    return Promise.resolve();
  });
  writer.note(checkpoint);
  await vi.advanceTimersByTimeAsync(60_000);
  expect((await metrics.unexpectedErrors.get()).values).toMatchObject([
    { labels: { where: "source.checkpoint" } },
  ]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(saved).toEqual([checkpoint]);
  await writer.stop();
});

test("a database that does not answer delays the shutdown by the limit only", async () => {
  const { writer, warnings } = writerTo(() => new Promise(() => {}));
  writer.note(checkpoint);
  await writer.stop(20);
  expect(warnings()).toEqual([expect.stringContaining("could not be saved")]);
});

import { expect, test } from "vitest";
import { type HoldsBatches, SnapshotMemory } from "../../../src/feed/snapshot-memory.ts";

const LAST_BATCH = 10;

class Snapshot implements HoldsBatches {
  batchBytes = 0;
  readers: number;
  readonly #memory: SnapshotMemory;

  constructor(memory: SnapshotMemory, readers: number) {
    this.#memory = memory;
    this.readers = readers;
  }

  grow(bytes: number): this {
    this.batchBytes += bytes;
    this.#memory.note(this);
    return this;
  }

  shed(): void {
    this.batchBytes = Math.min(this.batchBytes, LAST_BATCH);
    this.#memory.note(this);
  }
}

function open(limitBytes: number) {
  const counted = { shed: 0 };
  const memory = new SnapshotMemory(limitBytes, () => counted.shed++);
  return { memory, counted, snapshot: (readers: number) => new Snapshot(memory, readers) };
}

test("up to limits.snapshotBytes everything is kept, one byte more and sent batches go", () => {
  const { memory, counted, snapshot } = open(1_000);
  const one = snapshot(1).grow(400);
  const other = snapshot(1).grow(600);
  expect([memory.bytes, counted.shed]).toEqual([1_000, 0]);
  other.grow(1);
  expect([one.batchBytes, other.batchBytes, memory.bytes, counted.shed]).toEqual([400, LAST_BATCH, 410, 1]);
});

test("snapshots with one reader lose their batches before those that several share, the largest first", () => {
  const { memory, snapshot } = open(1_000);
  const shared = snapshot(2).grow(700);
  const large = snapshot(1).grow(200);
  const small = snapshot(0).grow(50);
  shared.grow(100);
  expect([shared.batchBytes, large.batchBytes, small.batchBytes]).toEqual([800, LAST_BATCH, 50]);
  shared.grow(300);
  expect(memory.bytes).toBeLessThanOrEqual(1_000);
  expect(shared.batchBytes).toBe(LAST_BATCH);
});

test("a snapshot without readers frees its memory", () => {
  const { memory, snapshot } = open(1_000);
  const gone = snapshot(1).grow(900);
  memory.forget(gone);
  const next = snapshot(1).grow(900);
  expect([memory.bytes, next.batchBytes]).toEqual([900, 900]);
});

test("however many readers are slow, the rest is one batch each", () => {
  const { memory, snapshot } = open(1_000);
  for (let i = 0; i < 500; i++) snapshot(1).grow(400);
  expect(memory.bytes).toBeLessThan(1.2 * 500 * LAST_BATCH + 1_000);
});

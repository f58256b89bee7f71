import { expect, test } from "vitest";
import { Courier, type Parcel } from "../../../src/sinks/courier.ts";
import type { SendResult, SinkMessage, Target } from "../../../src/sinks/target.ts";

const ACCEPTED: SendResult = { kind: "accepted" };

/** A target whose answers the test gives, one request after another. */
class HeldTarget implements Target {
  readonly sent: string[][] = [];
  readonly #open: ((results: SendResult[]) => void)[] = [];
  readonly batchSize: number;

  constructor(batchSize = 1) {
    this.batchSize = batchSize;
  }

  send(messages: readonly SinkMessage[]): Promise<readonly SendResult[]> {
    this.sent.push(messages.map(({ id }) => id));
    return new Promise((resolve) => {
      this.#open.push(resolve);
    });
  }

  async answer(...results: SendResult[]): Promise<void> {
    this.#open.shift()?.(results);
    await new Promise(setImmediate);
  }

  async close(): Promise<void> {}
}

const event = { specversion: "1.0", id: "", source: "", type: "", data: null };
const parcel = (seq: number, key: string): Parcel => ({
  seq,
  message: { id: `${key}${seq}`, key, event },
  bytes: 10,
  atMs: seq,
  attempts: 0,
  lane: undefined,
});

function courierOf(
  target: Target,
  concurrency: number,
  settled: (parcel: Parcel, result: SendResult) => void = () => {},
) {
  const courier = unsavedCourierOf(target, concurrency, (one, result) => {
    settled(one, result);
    if (result.kind === "accepted") queueMicrotask(() => courier.noteSaved(1));
  });
  return courier;
}

/** A courier whose acceptances the state database does not know before the test says so. */
function unsavedCourierOf(
  target: Target,
  concurrency: number,
  settled: (parcel: Parcel, result: SendResult) => void = () => {},
): Courier {
  const failed = (error: unknown) => {
    throw error;
  };
  return new Courier(target, concurrency, { maySend: () => true, settled, failed });
}

test("messages of one key are sent one after another, those of other keys at the same time", async () => {
  const target = new HeldTarget();
  const courier = courierOf(target, 2);
  for (const next of [parcel(1, "a"), parcel(2, "a"), parcel(3, "b"), parcel(4, "c")]) courier.add(next);
  expect(target.sent).toEqual([["a1"], ["b3"]]);
  await target.answer(ACCEPTED);
  expect(target.sent).toEqual([["a1"], ["b3"], ["c4"]]);
  await target.answer(ACCEPTED);
  expect(target.sent.at(-1)).toEqual(["a2"]);
});

test("a request carries messages of different keys, up to the batch of the target", () => {
  const target = new HeldTarget(2);
  const courier = courierOf(target, 1);
  courier.add(parcel(1, "a"));
  for (const next of [parcel(2, "a"), parcel(3, "b"), parcel(4, "c")]) courier.add(next);
  expect(target.sent).toEqual([["a1"]]);
  void target.answer(ACCEPTED);
  return expect.poll(() => target.sent).toEqual([["a1"], ["b3", "c4"]]);
});

test("takes back what is not in flight, in the order of arrival", async () => {
  const target = new HeldTarget();
  const courier = courierOf(target, 1);
  for (const next of [parcel(1, "a"), parcel(2, "b"), parcel(3, "a"), parcel(4, "b")]) courier.add(next);
  expect(courier.withdraw().map(({ seq }) => seq)).toEqual([2, 3, 4]);
  expect(courier.size).toBe(1);
  expect(courier.bytes).toBe(10);
  await target.answer(ACCEPTED);
  expect(courier.size).toBe(0);
  expect(target.sent).toEqual([["a1"]]);
  courier.add(parcel(5, "a"));
  expect(target.sent.at(-1)).toEqual(["a5"]);
});

test("after a refusal the handler can take back the rest of the key before it is sent", async () => {
  const target = new HeldTarget();
  const taken: number[] = [];
  const courier: Courier = courierOf(target, 1, ({ message }) => {
    for (const { seq } of courier.withdrawKey(message.key)) taken.push(seq);
  });
  for (const next of [parcel(1, "a"), parcel(2, "a"), parcel(3, "b")]) courier.add(next);
  await target.answer({ kind: "refused", reason: "no" });
  expect(taken).toEqual([2]);
  expect(target.sent).toEqual([["a1"], ["b3"]]);
});

test("is full by the number of messages and by their bytes, and has room again when one leaves", async () => {
  const target = new HeldTarget();
  const courier = courierOf(target, 1);
  courier.add(parcel(1, "a"));
  expect(courier.isFull(2)).toBe(false);
  courier.add({ ...parcel(2, "b"), bytes: 16 * 1_048_576 });
  expect(courier.isFull(1_000)).toBe(true);
  const below = courier.below(2);
  await target.answer(ACCEPTED);
  await target.answer(ACCEPTED);
  await below;
  expect(courier.isFull(1)).toBe(false);
});

test("tries a target that was down with one request at a time", async () => {
  const target = new HeldTarget();
  const courier = courierOf(target, 4);
  courier.tiptoe();
  for (const next of [parcel(1, "a"), parcel(2, "b"), parcel(3, "c")]) courier.add(next);
  expect(target.sent).toHaveLength(1);
  courier.hurry();
  expect(target.sent).toHaveLength(3);
});

test("sends no more while the acceptance of `concurrency` messages is not saved", async () => {
  const target = new HeldTarget();
  const courier = unsavedCourierOf(target, 2);
  for (const key of ["a", "b", "c", "d", "e"]) courier.add(parcel(1, key));
  await target.answer(ACCEPTED);
  await target.answer(ACCEPTED);
  expect(target.sent).toEqual([["a1"], ["b1"]]);
  courier.noteSaved(1);
  expect(target.sent).toHaveLength(3);
  courier.noteSaved(1);
  expect(target.sent).toHaveLength(4);
});

test("a message that was not accepted does not wait for a save", async () => {
  const target = new HeldTarget();
  const courier = unsavedCourierOf(target, 1);
  for (const key of ["a", "b"]) courier.add(parcel(1, key));
  await target.answer({ kind: "refused", reason: "no" });
  expect(target.sent).toEqual([["a1"], ["b1"]]);
});

test("messages of the spool have a larger bound, and batches count by their messages", async () => {
  const target = new HeldTarget(10);
  const courier = unsavedCourierOf(target, 1);
  let sent = 0;
  const acceptAll = async () => {
    for (; sent < target.sent.length; sent++) await target.answer(...Array<SendResult>(10).fill(ACCEPTED));
    return target.sent.flat().length;
  };
  // The first message leaves alone, because the others come later.
  for (let n = 0; n < 30; n++) courier.add(parcel(n, `k${n}`));
  expect(await acceptAll()).toBe(11);
  courier.noteSaved(11);
  expect(await acceptAll()).toBe(21);
  courier.withdraw();
  for (let n = 30; n < 300; n++) courier.add({ ...parcel(n, `k${n}`), lane: null });
  expect(await acceptAll()).toBe(21 + 191);
  courier.noteSaved(191);
  expect(await acceptAll()).toBe(21 + 270);
});

test("names the messages that are in memory alone, those in flight included", () => {
  const courier = unsavedCourierOf(new HeldTarget(), 1);
  courier.add({ ...parcel(3, "c"), lane: null });
  for (const next of [parcel(2, "b"), parcel(1, "a")]) courier.add(next);
  expect(courier.unsaved().map(({ seq }) => seq)).toEqual([1, 2]);
});

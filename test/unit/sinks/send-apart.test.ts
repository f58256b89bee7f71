import { expect, test } from "vitest";
import type { SendResult, SinkMessage } from "../../../src/sinks/target.ts";
import { type SendAll, sendApart } from "../../../src/sinks/targets/send-apart.ts";

const message = (id: string, key = id): SinkMessage => ({
  id,
  key,
  event: { specversion: "1.0", id, source: "/tidewire/test", type: "tidewire.items.added" },
});

const ACCEPTED: SendResult = { kind: "accepted" };
const REFUSED: SendResult = { kind: "refused", reason: "too large" };
const AWAY: SendResult = { kind: "unavailable", reason: "down" };
const GONE: SendResult = { kind: "gone", reason: "410" };

/** Gives the results in turn, and notes what was sent. */
function answering(...results: readonly SendResult[]) {
  const sent: string[][] = [];
  const sendAll: SendAll = async (messages) => {
    const result = results[sent.length];
    sent.push(messages.map(({ id }) => id));
    return result ?? expect.fail("sent once too often");
  };
  return { sent, sendAll };
}

test("an empty batch is not sent", async () => {
  const { sent, sendAll } = answering();
  expect(await sendApart([], sendAll)).toEqual([]);
  expect(sent).toEqual([]);
});

test.each([ACCEPTED, AWAY, GONE])("a batch is sent once if the result is $kind", async (result) => {
  const { sent, sendAll } = answering(result);
  expect(await sendApart([message("a"), message("b")], sendAll)).toEqual([result, result]);
  expect(sent).toEqual([["a", "b"]]);
});

test("a single message that is refused is not sent again", async () => {
  const { sent, sendAll } = answering(REFUSED);
  expect(await sendApart([message("a")], sendAll)).toEqual([REFUSED]);
  expect(sent).toEqual([["a"]]);
});

test("the messages of a refused batch are sent one by one, in their order", async () => {
  const { sent, sendAll } = answering(REFUSED, ACCEPTED, REFUSED, ACCEPTED);
  const results = await sendApart([message("a"), message("b"), message("c")], sendAll);
  expect(results).toEqual([ACCEPTED, REFUSED, ACCEPTED]);
  expect(sent).toEqual([["a", "b", "c"], ["a"], ["b"], ["c"]]);
});

test("a later message does not overtake a refused one with the same key", async () => {
  const { sent, sendAll } = answering(REFUSED, REFUSED, ACCEPTED);
  const results = await sendApart([message("a1", "a"), message("b1", "b"), message("a2", "a")], sendAll);
  expect(results.map(({ kind }) => kind)).toEqual(["refused", "accepted", "refused"]);
  expect(sent).toEqual([["a1", "b1", "a2"], ["a1"], ["b1"]]);
});

test.each([AWAY, GONE])("nothing more is sent once a result is $kind", async (end) => {
  const { sent, sendAll } = answering(REFUSED, ACCEPTED, end);
  const results = await sendApart([message("a"), message("b"), message("c")], sendAll);
  expect(results).toEqual([ACCEPTED, end, end]);
  expect(sent).toEqual([["a", "b", "c"], ["a"], ["b"]]);
});

import { expect, test } from "vitest";
import { Chunk } from "../../../src/feed/chunk.ts";
import { PollTransport } from "../../../src/gateway/transports/poll.ts";
import type { Start, SubscribedMessage } from "../../../src/protocol/messages.ts";
import { openExchange } from "../../support/exchange.ts";

const NEXT_TURN = () => new Promise(setImmediate);

async function openPoll({ wantsSnapshot = true, limitBytes = 1_000 } = {}) {
  const { exchange, answer } = await openExchange();
  let subscriptions = 0;
  const transport = new PollTransport(exchange, {
    wantsSnapshot,
    limitBytes,
    compression: null,
    onSubscribed: () => {
      subscriptions++;
    },
  });
  return {
    transport,
    subscriptions: () => subscriptions,
    async answered() {
      const { status, text } = await answer;
      return { status, body: JSON.parse(text) };
    },
    async isAnswered() {
      await NEXT_TURN();
      await NEXT_TURN();
      return Promise.race([
        answer.then(() => true),
        new Promise((resolve) => setTimeout(resolve, 20, false)),
      ]);
    },
  };
}

const subscribed = (start: Start, cursor = "c0", ticket = "t0"): SubscribedMessage => ({
  type: "subscribed",
  id: "1",
  query: 1,
  start,
  cursor,
  ticket,
});
const message = (type: string, cursor: string, partial = false, size = 0) => ({
  type,
  cursor,
  partial,
  text: JSON.stringify({ type, cursor, ...(size === 0 ? {} : { pad: "x".repeat(size) }) }),
});
const cursorsIn = (body: { messages: { cursor: string }[] }) => body.messages.map(({ cursor }) => cursor);

test("a change that comes in the same turn as the first one is in the same answer", async () => {
  const { transport, answered } = await openPoll();
  transport.send(subscribed("live"));
  transport.write(new Chunk([message("added", "c1")]));
  transport.write(new Chunk([message("changed", "c2")]));
  expect(await answered()).toMatchObject({
    status: 200,
    body: { start: "live", cursor: "c2", ticket: "t0" },
  });
});

test("missed changes are collected until all of them have arrived", async () => {
  const { transport, answered, isAnswered } = await openPoll();
  transport.send(subscribed("resumed"));
  transport.write(new Chunk([message("added", "c1")]));
  expect(await isAnswered()).toBe(false);
  transport.write(new Chunk([message("added", "c2")]));
  transport.send({ type: "watermark", cursor: "c3" });
  const { body } = await answered();
  expect([cursorsIn(body), body.cursor]).toEqual([["c1", "c2"], "c3"]);
});

test("a wait that is over ends the collecting, too, but not before anything is known", async () => {
  const early = await openPoll();
  early.transport.send(subscribed("resumed"));
  early.transport.due();
  expect(await early.isAnswered()).toBe(false);
  early.transport.send({ type: "watermark", cursor: "c1" });
  expect((await early.answered()).body).toMatchObject({ messages: [], cursor: "c1" });
  const late = await openPoll();
  late.transport.send(subscribed("resumed"));
  late.transport.write(new Chunk([message("added", "c1")]));
  late.transport.due();
  expect(cursorsIn((await late.answered()).body)).toEqual(["c1"]);
});

test("a full answer takes nothing more, neither a change nor a watermark that is past what was left out", async () => {
  const { transport, answered } = await openPoll({ limitBytes: 100 });
  transport.send(subscribed("resumed"));
  const messages = [
    message("added", "c1", false, 60),
    message("added", "c2", false, 60),
    message("added", "c3"),
  ];
  transport.write(new Chunk(messages));
  transport.write(new Chunk([message("added", "c4")]));
  transport.send({ type: "watermark", cursor: "c5" });
  const { body } = await answered();
  expect([cursorsIn(body), body.cursor]).toEqual([["c1", "c2"], "c2"]);
});

test("an answer is exactly full at its limit", async () => {
  const text = message("added", "c1").text.length;
  for (const [limitBytes, sent] of [
    [text, ["c1"]],
    [text + 1, ["c1", "c2"]],
  ] as const) {
    const { transport, answered } = await openPoll({ limitBytes });
    transport.send(subscribed("resumed"));
    transport.write(new Chunk([message("added", "c1"), message("added", "c2")]));
    transport.due();
    expect(cursorsIn((await answered()).body)).toEqual(sent);
  }
});

test("an answer ends nowhere inside a transaction or a snapshot, whatever its size and wait", async () => {
  const { transport, answered, isAnswered } = await openPoll({ limitBytes: 10 });
  transport.send(subscribed("snapshot"));
  transport.due();
  transport.write(new Chunk([message("snapshot", "c1", true)]));
  expect(await isAnswered()).toBe(false);
  transport.write(new Chunk([message("snapshot", "c1")]));
  const { body } = await answered();
  expect([body.messages.length, body.cursor]).toEqual([2, "c1"]);
  const other = await openPoll({ limitBytes: 10 });
  other.transport.send(subscribed("live"));
  other.transport.write(new Chunk([message("added", "before", true)]));
  other.transport.due();
  expect(await other.isAnswered()).toBe(false);
  other.transport.write(new Chunk([message("added", "after")]));
  expect((await other.answered()).body.cursor).toBe("after");
});

test("a reset brings its ticket, and the answer continues to the end of the new snapshot", async () => {
  const { transport, answered } = await openPoll();
  transport.send(subscribed("resumed"));
  transport.send({ type: "reset", query: 1, ticket: "t1", reason: "lagged" });
  transport.due();
  transport.write(new Chunk([message("snapshot", "c1", true)]));
  transport.write(new Chunk([message("snapshot", "c1")]));
  const { body } = await answered();
  expect(body.messages.map(({ type }: { type: string }) => type)).toEqual(["reset", "snapshot", "snapshot"]);
  expect([body.cursor, body.ticket]).toEqual(["c1", "t1"]);
});

test("a change of rights in the middle of a snapshot is reported in the same answer", async () => {
  const { transport, answered } = await openPoll();
  transport.send(subscribed("snapshot"));
  transport.write(new Chunk([message("snapshot", "c1", true)]));
  transport.send({ ...subscribed("reset", "c2", "t2"), reason: "rights-changed" });
  transport.write(new Chunk([message("snapshot", "c2")]));
  const { body } = await answered();
  expect(body.messages.map(({ type }: { type: string }) => type)).toEqual([
    "snapshot",
    "subscribed",
    "snapshot",
  ]);
  expect(body).toMatchObject({ start: "snapshot", cursor: "c2", ticket: "t2" });
});

test("rights that change while nothing is on its way leave the answer as it was", async () => {
  const { transport, answered } = await openPoll();
  transport.send(subscribed("resumed"));
  transport.send({ ...subscribed("moved", "c2", "t2"), from: 1 });
  transport.write(new Chunk([message("added", "c3")]));
  expect((await answered()).body).toEqual({ start: "resumed", messages: [], cursor: "c0", ticket: "t0" });
});

test.each([
  [{ type: "error", code: "snapshot-too-large", message: "", retry: "never" }, 429, "snapshot-too-large"],
  [{ type: "unsubscribed", id: "1", reason: "forbidden" }, 403, "forbidden"],
  [{ type: "unsubscribed", id: "1", reason: "collection-dropped" }, 404, "unknown-collection"],
  [{ type: "reset", query: 1, ticket: "t", reason: "history-lost" }, 503, "unavailable"],
] as const)("what overtakes the subscription is an HTTP error: %j", async (early, status, code) => {
  const { transport, answered, subscriptions } = await openPoll();
  transport.send(early);
  transport.write(new Chunk([message("added", "c1")]));
  transport.send(subscribed("snapshot"));
  expect(await answered()).toMatchObject({ status, body: { type: "error", code } });
  expect(subscriptions()).toBe(0);
});

test("an error that will pass leaves the answer of who has only waited as it was; any other is the answer", async () => {
  const passing = await openPoll();
  passing.transport.send(subscribed("resumed"));
  passing.transport.send({ type: "error", code: "unavailable", message: "drained", retry: "later" });
  expect(await passing.answered()).toMatchObject({ status: 200, body: { messages: [], cursor: "c0" } });
  const lasting = await openPoll();
  lasting.transport.send(subscribed("resumed"));
  lasting.transport.send({ type: "error", code: "unauthenticated", message: "expired", retry: "token" });
  expect(await lasting.answered()).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
});

test("a closed connection receives an answer if possible, and is cut off after half a frame", async () => {
  const pending = await openPoll();
  pending.transport.close(4202, "drained");
  expect(await pending.answered()).toMatchObject({ status: 503, body: { code: "unavailable" } });
  const waiting = await openPoll();
  waiting.transport.send(subscribed("resumed"));
  waiting.transport.close(4202, "drained");
  expect((await waiting.answered()).body).toMatchObject({ messages: [], cursor: "c0" });
  const half = await openPoll();
  half.transport.send(subscribed("snapshot"));
  half.transport.write(new Chunk([message("snapshot", "c1", true)]));
  half.transport.close(4202, "drained");
  await expect(half.answered()).rejects.toThrow();
});

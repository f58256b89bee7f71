import { expect, test } from "vitest";
import { Chunk } from "../../../src/feed/chunk.ts";
import { SseTransport } from "../../../src/gateway/transports/sse.ts";
import type { ServerMessage, Start } from "../../../src/protocol/messages.ts";
import { openExchange } from "../../support/exchange.ts";

async function openStream({ wantsSnapshot = true, isReconnection = false } = {}) {
  const { exchange, answer } = await openExchange();
  const mark = (ticket: string) => `m(${ticket})`;
  const transport = new SseTransport(exchange, { wantsSnapshot, isReconnection, retryMs: 1_234, mark });
  return {
    transport,
    answer,
    /** Ends the stream and returns its events, as `[event, id]`. */
    async events() {
      transport.close(4202, "drained");
      const { text } = await answer;
      return text
        .split("\n\n")
        .filter((block) => block.includes("event:"))
        .map((block) => [/^event: (.*)$/m.exec(block)?.[1], /^id: (.*)$/m.exec(block)?.[1]]);
    },
  };
}

const subscribed = (start: Start, cursor = "c0", ticket = "t0"): ServerMessage => ({
  type: "subscribed",
  id: "1",
  query: 1,
  start,
  cursor,
  ticket,
});
const encoded = (type: string, cursor: string, partial = false) => ({
  type,
  cursor,
  partial,
  text: JSON.stringify({ type, cursor }),
});

test("an id holds the cursor for a resumption, or asks for a new snapshot if the sent one is incomplete", async () => {
  const { transport, events } = await openStream();
  transport.send(subscribed("snapshot"));
  transport.write(new Chunk([encoded("snapshot", "c1", true)]));
  transport.write(new Chunk([encoded("snapshot", "c1")]));
  transport.write(new Chunk([encoded("added", "before", true), encoded("added", "after")]));
  transport.send({ type: "watermark", cursor: "c4" });
  transport.send({ type: "expiring", inMs: 1 });
  transport.send({ type: "reset", query: 1, ticket: "t1", reason: "lagged" });
  transport.write(new Chunk([encoded("snapshot", "c5")]));
  expect(await events()).toEqual([
    ["subscribed", "m(t0).t0."],
    ["snapshot", "m(t0).t0."],
    ["snapshot", "m(t0).t0.c1"],
    // A transaction's own cursors point before it, until its end.
    ["added", "m(t0).t0.before"],
    ["added", "m(t0).t0.after"],
    ["watermark", "m(t0).t0.c4"],
    ["expiring", undefined],
    ["reset", "m(t1).t1."],
    ["snapshot", "m(t1).t1.c5"],
  ]);
});

test("[7] a stream has no watermark before it has begun, because missed changes may follow", async () => {
  const { transport, events } = await openStream();
  transport.send({ type: "watermark", cursor: "later" });
  transport.send(subscribed("resumed"));
  transport.write(new Chunk([encoded("added", "c1")]));
  transport.send({ type: "watermark", cursor: "later" });
  expect(await events()).toEqual([
    ["subscribed", "m(t0).t0.c0"],
    ["added", "m(t0).t0.c1"],
    ["watermark", "m(t0).t0.later"],
  ]);
});

test.each([
  ["snapshot", true, ""],
  ["reset", true, ""],
  ["moved", true, ""],
  ["resumed", true, "c0"],
  ["live", false, "c0"],
  ["reset", false, "c0"],
] as const)(
  "a start as %s (snapshot wanted: %s) can be resumed at %j",
  async (start, wantsSnapshot, cursor) => {
    const { transport, events } = await openStream({ wantsSnapshot });
    transport.send(subscribed(start));
    expect(await events()).toEqual([["subscribed", `m(t0).t0.${cursor}`]]);
  },
);

test("the end of a subscription ends the stream, with an id that says so", async () => {
  const { transport, answer } = await openStream();
  transport.send(subscribed("live"));
  transport.send({ type: "unsubscribed", id: "1", reason: "config" });
  transport.write(new Chunk([encoded("added", "c1")]));
  const { text } = await answer;
  expect(text).toMatch(/id: m\(t0\)\.t0\.end\nevent: unsubscribed\ndata: .*\n\n$/);
});

test("begins with retry and the messages from before the subscription was active; comments are sent only when nothing waits", async () => {
  const { transport, answer } = await openStream();
  transport.comment();
  transport.send({ type: "expiring", inMs: 5 });
  transport.send(subscribed("live"));
  transport.comment();
  transport.close(4202, "drained");
  const { text } = await answer;
  expect(text.startsWith('retry: 1234\n\nevent: expiring\ndata: {"type":"expiring","inMs":5}\n\nid: ')).toBe(
    true,
  );
  // The stream's beginning had not left yet.
  expect(text).not.toMatch(/^:/m);
});

test.each([
  [{ type: "error", code: "bad-filter", message: "", retry: "never" }, 400, 400],
  [{ type: "error", code: "unauthenticated", message: "", retry: "token" }, 401, 401],
  [{ type: "error", code: "forbidden", message: "", retry: "never" }, 403, 204],
  [{ type: "error", code: "unknown-collection", message: "", retry: "never" }, 404, 204],
  [{ type: "unsubscribed", id: "1", reason: "forbidden" }, 403, 204],
  [{ type: "unsubscribed", id: "1", reason: "collection-dropped" }, 404, 204],
  [{ type: "error", code: "snapshot-too-large", message: "", retry: "never" }, 429, 429],
  [{ type: "error", code: "unavailable", message: "", retry: "later" }, 503, 200],
  [{ type: "reset", query: 1, ticket: "t", reason: "history-lost" }, 503, 200],
] as const)(
  "before the stream: %j is %d, and %d for a reconnection",
  async (early, status, onReconnection) => {
    for (const isReconnection of [false, true]) {
      const { transport, answer } = await openStream({ isReconnection });
      transport.send(early);
      transport.send(subscribed("snapshot"));
      expect((await answer).status).toBe(isReconnection ? onReconnection : status);
    }
  },
);

test("a reconnection that fails temporarily receives a stream of one event, and is retried later than usual", async () => {
  const { transport, answer } = await openStream({ isReconnection: true });
  transport.send({ type: "error", code: "unavailable", message: "no", retry: "later", retryAfterMs: 5_000 });
  const { text, headers } = await answer;
  expect(headers["content-type"]).toBe("text/event-stream");
  expect(text).toBe(
    'retry: 6234\n\nevent: error\ndata: {"type":"error","code":"unavailable","message":"no","retry":"later","retryAfterMs":5000}\n\n',
  );
});

test("a connection that is closed before its stream began is answered with 503", async () => {
  const { transport, answer } = await openStream();
  transport.close(4202, "drained");
  const { status, headers } = await answer;
  expect(status).toBe(503);
  expect(Number(headers["retry-after"])).toBeGreaterThan(0);
});

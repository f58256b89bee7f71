import { expect, test } from "vitest";
import { fromEncoded, fromMessage } from "../../../../src/gateway/grpc/follow-messages.ts";
import { Cause, Reason, Start } from "../../../../src/gateway/grpc/tidewire/v1/live_queries_pb.ts";

const encoded = (message: Record<string, unknown>, more: object = {}) => ({
  type: String(message["type"]),
  text: JSON.stringify({ query: 1, ...message }),
  cursor: String(message["cursor"]),
  ...more,
});

test("a change brings its document as text", () => {
  const { message } = fromEncoded(
    encoded({ type: "added", cursor: "c", cause: "insert", doc: { _id: 1 }, before: null }),
  );
  expect(message.case).toBe("added");
  expect(message.value).toMatchObject({
    cause: Cause.INSERT,
    cursor: "c",
    document: '{"_id":1}',
    before: "null",
  });
});

test("a delta brings the difference, and no document", () => {
  const { message } = fromEncoded(
    encoded({ type: "changed", cursor: "c", cause: "update", _id: "x", set: { "a.b": 1 }, unset: ["q"] }),
  );
  expect(message.value).toMatchObject({ cause: Cause.UPDATE, id: '"x"', set: '{"a.b":1}', unset: ["q"] });
  expect(message.value).not.toHaveProperty("document");
});

test("[3.3] only the last part of a snapshot has a cursor, because nothing resumes from half a snapshot", () => {
  const docs = [{ _id: 1 }, { _id: 2 }];
  const half = fromEncoded(encoded({ type: "snapshot", docs, cursor: "c", last: false }, { partial: true }));
  const whole = fromEncoded(encoded({ type: "snapshot", docs: [], cursor: "c", last: true }));
  expect(half.message.value).toMatchObject({
    documents: ['{"_id":1}', '{"_id":2}'],
    last: false,
    cursor: "",
  });
  expect(whole.message.value).toMatchObject({ documents: [], last: true, cursor: "c" });
});

test.each([
  ["snapshot", true, ""],
  ["reset", true, ""],
  ["moved", true, ""],
  ["resumed", true, "c"],
  ["live", true, "c"],
  ["reset", false, "c"],
] as const)(
  "the cursor of `subscribed` with the start %s, snapshot %s, is %j",
  (start, wantsSnapshot, cursor) => {
    const subscribed = { type: "subscribed", id: "1", query: 1, start, cursor: "c", ticket: "t" } as const;
    expect(fromMessage(subscribed, wantsSnapshot)?.message.value).toMatchObject({ cursor, ticket: "t" });
  },
);

test("a start has its reason", () => {
  const subscribed = {
    type: "subscribed",
    id: "1",
    query: 1,
    start: "reset",
    cursor: "c",
    ticket: "t",
  } as const;
  const { message } = fromMessage({ ...subscribed, reason: "history-lost" }, true) ?? {};
  expect(message?.value).toMatchObject({ start: Start.RESET, reason: Reason.HISTORY_LOST });
});

test("newer tickets arrive as the ticket of the only subscription", () => {
  expect(fromMessage({ type: "tickets", tickets: { 1: "t" } }, true)?.message).toMatchObject({
    case: "ticket",
    value: { ticket: "t" },
  });
});

test("a message without a ticket is left out, because an empty ticket would replace the held one", () => {
  expect(fromMessage({ type: "tickets", tickets: {} }, true)).toBeNull();
});

test("the end of a token is announced in whole milliseconds", () => {
  const welcome = {
    type: "welcome",
    connection: "c",
    node: "n",
    heartbeat: 25_000,
    user: null,
    expires: 1_764_510_000_123.5,
    reconnect: { minMs: 1, maxMs: 2, factor: 2, stableAfterMs: 3 },
    limits: {},
  } as const;
  expect(fromMessage(welcome, true)?.message.value).toMatchObject({ expiresAtMs: 1_764_510_000_124n });
});

import { expect, test } from "vitest";
import { MessageMaker } from "../../../src/sinks/sink-message.ts";

const maker = (isAggregate = false) =>
  new MessageMaker({ sink: "late", collection: "orders", isAggregate, timeOf: () => 1_000 });
const change = (cursor: string, id: unknown) =>
  JSON.stringify({ type: "changed", query: 1, cursor, cause: "update", doc: { _id: id, n: 1 } });

test("the id names the commit and the document, and is the same on every node", () => {
  const [message] = maker().make(change("c1", "a"));
  expect(maker().make(change("c1", "a"))[0]?.id).toBe(message?.id);
  expect(maker().make(change("c2", "a"))[0]?.id).not.toBe(message?.id);
  expect(maker().make(change("c1", "b"))[0]?.id).not.toBe(message?.id);
  expect(message?.event).toEqual({
    specversion: "1.0",
    id: message?.id,
    source: "/tidewire/late",
    type: "tidewire.orders.changed",
    subject: "a",
    time: "1970-01-01T00:00:01.000Z",
    datacontenttype: "application/json",
    data: { type: "changed", cursor: "c1", cause: "update", doc: { _id: "a", n: 1 } },
  });
});

test("a document that one commit changes twice has two ids", () => {
  const one = maker();
  const ids = [change("c1", "a"), change("c1", "b"), change("c1", "a"), change("c2", "a")].map(
    (text) => one.make(text)[0]?.id,
  );
  expect(new Set(ids).size).toBe(4);
  const again = maker();
  expect(
    [change("c1", "a"), change("c1", "b"), change("c1", "a")].map((text) => again.make(text)[0]?.id),
  ).toEqual(ids.slice(0, 3));
});

test("no two messages of an aggregate have one id, because another node may combine other commits in it", () => {
  const makers = [maker(true), maker(true)];
  // The second message is the state of a row before it went to another one and came back.
  const messages = makers.flatMap((one) => [one.make(change("c1", "a")), one.make(change("c1", "a"))].flat());
  expect(new Set(messages.map(({ id }) => id)).size).toBe(4);
  for (const { id } of messages) expect(id).toMatch(/^[\x21-\x7e]{1,100}$/);
});

test("the id fits into a header, whatever the document's _id is", () => {
  for (const id of ["ü\n€", { a: [1, null] }, "x".repeat(10_000), null, 7])
    expect(maker().make(change("c1", id))[0]?.id).toMatch(/^[\x21-\x7e]{1,100}$/);
});

test("each document of a snapshot is an added message", () => {
  const text = JSON.stringify({
    type: "snapshot",
    query: 1,
    docs: [{ _id: 1 }, { _id: 2 }],
    cursor: "c",
    last: true,
  });
  const messages = maker().make(text);
  expect(messages.map(({ key }) => key)).toEqual(["1", "2"]);
  expect(messages[0]?.event.data).toEqual({ type: "added", cursor: "c", cause: "snapshot", doc: { _id: 1 } });
  expect(messages[0]?.event.type).toBe("tidewire.orders.added");
});

test("a removed document is named by its _id", () => {
  const text = JSON.stringify({
    type: "removed",
    query: 1,
    cursor: "c",
    cause: "delete",
    _id: { $oid: "65" },
  });
  expect(maker().make(text)[0]).toMatchObject({ key: '{"$oid":"65"}', event: { subject: '{"$oid":"65"}' } });
});

/** Queries of an application that show one view, after the connection was lost. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ChangeQueue } from "../../../src/client/change-queue.ts";
import type { ServerMessage } from "../../../src/protocol/messages.ts";
import { pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A query for changes alone and one with documents share a live query, and the connection breaks. */
async function resumeBoth() {
  const { service, orders, follow } = scriptedClient();
  const first = follow(orders.find({}, { snapshot: false }));
  await settle();
  service.socket.welcome();
  const subscribed = (start: string, more: object = {}) => ({
    type: "subscribed",
    id: service.socket.last("subscribe").id,
    query: 1,
    start,
    cursor: "c1",
    ticket: "t",
    ...more,
  });
  service.socket.tell(subscribed("live") as ServerMessage);
  const changes: string[] = [];
  const second = follow(orders.find());
  second.query.subscribe({
    change: ({ type, cursor }: { type: string; cursor?: string }) => changes.push(`${type} ${cursor ?? ""}`),
  });
  await settle();
  service.socket.tell(
    subscribed("snapshot") as ServerMessage,
    { type: "snapshot", query: 1, docs: [{ _id: 1 }], cursor: "c1", last: true } as ServerMessage,
  );
  changes.length = 0;
  const [before] = service.socket.sent.length > 0 ? [service.socket] : [];
  service.socket.drop();
  await pass(60_000);
  service.socket.welcome();
  await settle();
  expect(service.socket).not.toBe(before);
  const asked = service.socket.sent.filter(({ type }) => type === "subscribe") as {
    id: string;
    cursor?: string;
  }[];
  return { service, first, second, changes, asked };
}

test("one of them resumes, and the other asks without a cursor, so that no missed change comes twice", async () => {
  const { service, second, changes, asked } = await resumeBoth();
  expect(asked.map(({ cursor }) => cursor)).toEqual(["c1", undefined]);
  const [one, other] = asked.map(({ id }) => id);
  service.socket.tell(
    { type: "subscribed", id: one, query: 1, start: "resumed", cursor: "c1", ticket: "t2" } as ServerMessage,
    { type: "added", query: 1, cursor: "c2", cause: "insert", doc: { _id: 2 } } as ServerMessage,
    { type: "watermark", cursor: "c3" } as ServerMessage,
    { type: "subscribed", id: other, query: 1, start: "shared", cursor: "c3", ticket: "t3" } as ServerMessage,
  );
  await pass(1_000);
  expect(changes).toEqual(["added c2"]);
  expect(second.query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }, { _id: 2 }] });
});

test("a resumption on a connection that already delivers the view makes the query live", async () => {
  const { service, first, second, asked } = await resumeBoth();
  for (const { id } of asked)
    service.socket.tell(
      { type: "subscribed", id, query: 1, start: "resumed", cursor: "c1", ticket: "t2" } as ServerMessage,
      { type: "watermark", cursor: "c3" } as ServerMessage,
    );
  await pass(1_000);
  expect([first.query.getState().status, second.query.getState().status]).toEqual(["live", "live"]);
});

test("the end of a query is the last state that every listener receives, also if a listener ends it", async () => {
  const { service, orders, client } = scriptedClient();
  const query = orders.find();
  const seen: string[][] = [[], []];
  query.subscribe({ data: () => client.close() });
  for (const list of seen) query.subscribe({ status: (status: string) => list.push(status) });
  await settle();
  service.socket.welcome();
  service.socket.tell(
    {
      type: "subscribed",
      id: service.socket.last("subscribe").id,
      query: 1,
      start: "snapshot",
      cursor: "c1",
      ticket: "t",
    } as ServerMessage,
    { type: "snapshot", query: 1, docs: [{ _id: 1 }], cursor: "c1", last: true } as ServerMessage,
  );
  await pass(1_000);
  for (const list of seen) expect(list.at(-1)).toBe("stopped");
});

test("each of several calls of next receives a change of its own, and all end with the queue", async () => {
  const queue = new ChangeQueue<{ _id: number }>(
    () => [],
    () => {},
  );
  const waiting = [queue.next(), queue.next(), queue.next(), queue.next()];
  const added = (_id: number) => ({ type: "added", doc: { _id }, cause: "insert", cursor: "c" }) as never;
  queue.push(added(1));
  queue.push(added(2));
  await queue.return();
  const results = await Promise.all(waiting);
  expect(results.map(({ value }) => (value as { doc?: unknown } | undefined)?.doc)).toEqual([
    { _id: 1 },
    { _id: 2 },
    undefined,
    undefined,
  ]);
});

/** A query that differs from another one only by its limit begins with the documents of that one. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const docs = (count: number) => Array.from({ length: count }, (_, _id) => ({ _id }));

/** A client that follows the first two documents, which are live. */
async function live() {
  const setup = scriptedClient({ lingerMs: 100 });
  const window = (limit: number) => setup.orders.find({ a: 1 }).sort("_id").limit(limit);
  const two = setup.follow(window(2));
  await settle();
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket, docs(2));
  return { ...setup, window, two };
}

test("a window that grows shows the documents held until its own are complete, as the same objects", async () => {
  const { service, follow, window, two } = await live();
  const held = two.query.getState().data;
  const before = window(4).getState();
  expect(before).toEqual({ data: held, status: "connecting", error: undefined });
  expect(window(4).getState()).toBe(before);
  const four = follow(window(4));
  two.stop();
  expect(four.query.getState()).toBe(before);
  await pass(1_000);
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "subscribed", id, query: 2, start: "snapshot", cursor: "c1", ticket: "t" });
  service.socket.tell({ type: "snapshot", query: 2, docs: docs(3), cursor: "c1", last: false });
  expect(four.query.getState()).toEqual({ data: held, status: "catching-up", error: undefined });
  service.socket.tell({ type: "snapshot", query: 2, docs: [{ _id: 3 }], cursor: "c1", last: true });
  expect(four.query.getState()).toMatchObject({ data: docs(4), status: "live" });
  expect(four.states.some(({ data }) => data.length === 0)).toBe(false);
});

test("a window that shrinks shows the first documents of those held", async () => {
  const { window, two } = await live();
  expect(window(1).getState().data).toEqual([two.query.getState().data[0]]);
  expect(window(1).getState()).toBe(window(1).getState());
});

test("without a limit, all documents held are shown", async () => {
  const { orders, two } = await live();
  expect(orders.find({ a: 1 }).sort("_id").getState().data).toBe(two.query.getState().data);
});

test("nothing is taken from a query with another filter, sort or fields, or that is no longer held", async () => {
  const { orders, two, window } = await live();
  for (const other of [
    orders.find({ a: 2 }).sort("_id").limit(4),
    orders.find({ a: 1 }).sort("_id", -1).limit(4),
    orders.find({ a: 1 }).sort("_id").limit(4).fields("b"),
    orders.find({ a: 1 }),
  ])
    expect(other.getState().data).toEqual([]);
  two.stop();
  await pass(100);
  expect(window(4).getState().data).toEqual([]);
});

test("a larger window that is forbidden shows nothing any more", async () => {
  const { service, follow, window } = await live();
  const four = follow(window(4));
  const { id } = service.socket.last("subscribe");
  service.socket.tell({ type: "error", id, code: "forbidden", message: "no", retry: "never" });
  expect(four.query.getState()).toMatchObject({ data: [], status: "stopped" });
});

test("an observer receives the larger result once, when it is complete, and `snapshot` waits for it", async () => {
  const { service, window } = await live();
  const data = vi.fn();
  window(4).subscribe({ data });
  const snapshot = window(4).snapshot();
  await settle();
  expect(data).not.toHaveBeenCalled();
  answerSnapshot(service.socket, docs(4), 2);
  expect(data.mock.calls).toEqual([[docs(4)]]);
  expect(await snapshot).toEqual(docs(4));
});

/** A query is a store to the real `svelte/store`; the service is a script, the clock is ours. */
import { derived, get, type Readable } from "svelte/store";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { QueryState } from "../../../src/client/client.ts";
import { added, answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Order {
  _id: number;
}

test("Svelte's own `derived` and `get` follow a query, and leave it", async () => {
  const { service, client } = scriptedClient({ lingerMs: 100 });
  const orders: Readable<QueryState<Order>> = client.collection<Order>("orders").find();
  const ids = derived(orders, ({ data }) => data.map(({ _id }) => _id));
  const shown: number[][] = [];
  const stop = ids.subscribe((value) => shown.push(value));
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  service.socket.tell(added(2, "c2"));
  await settle();
  expect(shown[0]).toEqual([]);
  expect(shown.at(-1)).toEqual([1, 2]);
  // `get` comes and goes in one breath: the same query, and no other subscription.
  expect(get(orders).data).toEqual([{ _id: 1 }, { _id: 2 }]);
  expect(service.socket.of("subscribe")).toHaveLength(1);
  stop();
  await pass(100);
  expect(service.socket.closedWith).toBe(1000);
});

test("a count is a store of one row", async () => {
  const { service, client } = scriptedClient({ lingerMs: 100 });
  const number = derived(client.collection<Order>("orders").find().count(), ({ data }) => data[0]?.count);
  const shown: (number | undefined)[] = [];
  const stop = number.subscribe((value) => shown.push(value));
  await settle();
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: null, count: 2 }]);
  await settle();
  expect(shown.at(-1)).toBe(2);
  stop();
});

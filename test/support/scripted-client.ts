/** A client whose service is a script; for fake timers. */
import { onTestFinished, vi } from "vitest";
import { type ClientOptions, createClient, type QueryState } from "../../src/client/client.ts";
import type { ServerMessage } from "../../src/protocol/messages.ts";
import { FakeService, type FakeSocket } from "./fake-service.ts";

export const settle = () => vi.advanceTimersByTimeAsync(0);
export const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

export function scriptedClient(options: Partial<ClientOptions> = {}) {
  const service = new FakeService();
  const token = vi.fn<() => Promise<string>>(async () => "t1");
  const client = createClient({
    url: "http://live.test",
    token,
    WebSocket: service.WebSocket,
    transports: ["ws"],
    random: () => 1,
    logger: false,
    ...options,
  });
  onTestFinished(() => client.close());
  const orders = client.collection("orders");
  /** Follows a query, and notes all states. */
  const follow = (query = orders.find()) => {
    const states: QueryState<object>[] = [];
    const stop = query.subscribe((state) => void states.push(state));
    return {
      query,
      states,
      stop,
      statuses: () => states.map(({ status }) => status).filter((s, i, a) => s !== a[i - 1]),
    };
  };
  return { service, client, token, orders, follow };
}

/** Answers the last `subscribe` with a snapshot. */
export function answerSnapshot(socket: FakeSocket, docs: object[] = [], query = 1, cursor = "c1"): void {
  const { id } = socket.last("subscribe");
  socket.tell(
    { type: "subscribed", id, query, start: "snapshot", cursor, ticket: "ticket1" },
    { type: "snapshot", query, docs: docs as Record<string, unknown>[], cursor, last: true },
  );
}
export const added = (id: number, cursor: string, query = 1): ServerMessage => ({
  type: "added",
  query,
  cursor,
  cause: "insert",
  doc: { _id: id },
});

/** The files that the client fetches when it needs them may be missing, for example because the page is offline by then. */
import { afterEach, expect, test, vi } from "vitest";
import { memoryStore } from "../../../src/client/client.ts";
import { FakeHttp } from "../../support/fake-http.ts";
import type { FakeService } from "../../support/fake-service.ts";
import { answerSnapshot, scriptedClient } from "../../support/scripted-client.ts";

const FILES = ["change-queue", "fences", "persistence", "transport-choice", "warnings"] as const;

function lose(...names: (typeof FILES)[number][]): void {
  for (const name of names)
    vi.doMock(`../../../src/client/${name}.ts`, () => {
      throw new TypeError("Failed to fetch dynamically imported module");
    });
}
afterEach(() => {
  for (const name of FILES) vi.doUnmock(`../../../src/client/${name}.ts`);
});

const opened = (service: FakeService, sockets = 1) =>
  expect.poll(() => service.sockets.length, { timeout: 30_000 }).toBe(sockets);

test("without the reports, the text of the error itself is reported", async () => {
  lose("warnings");
  const warn = vi.fn();
  const { follow, service } = scriptedClient({ logger: { warn } });
  follow();
  await opened(service);
  service.socket.drop(4401, "not genuine");
  const error = expect.objectContaining({ code: "unauthenticated" });
  await expect.poll(() => warn.mock.calls).toEqual([["tidewire: not genuine", error]]);
});

test("without persistence, everything is read from the service", async () => {
  lose("persistence");
  const { follow, service } = scriptedClient({ persist: { store: memoryStore(), scope: "ada" } });
  const { query } = follow();
  await opened(service);
  service.socket.welcome();
  await expect.poll(() => service.socket.of("subscribe").length).toBe(1);
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(query.getState()).toMatchObject({ status: "live", data: [{ _id: 1 }] });
});

test("without the choice of another transport, the client keeps to the first", async () => {
  lose("transport-choice");
  const http = new FakeHttp();
  const { follow, service } = scriptedClient({
    fetch: http.fetch,
    transports: ["ws", "sse"],
    random: () => 0.1,
  });
  const { query } = follow();
  for (let sockets = 1; sockets <= 4; sockets++) {
    await opened(service, sockets);
    service.socket.drop();
  }
  await opened(service, 5);
  service.socket.welcome();
  answerSnapshot(service.socket);
  expect([query.getState().status, http.requests.length]).toEqual(["live", 0]);
});

test("without their files, a fence and a loop fail, and the query goes on", async () => {
  lose("fences", "change-queue");
  const { follow, service, client } = scriptedClient();
  const { query } = follow();
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket);
  await expect(client.fence({ t: 1, i: 1 })).rejects.toThrow();
  await expect(query.changes().next()).rejects.toThrow();
  expect(query.getState().status).toBe("live");
});

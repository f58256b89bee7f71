/** The records of the tools for developers. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createDevtools } from "../../../src/devtools/devtools.ts";
import { Recorder } from "../../../src/devtools/recorder.ts";
import { added, answerSnapshot, pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

async function live() {
  const recorder = new Recorder();
  const changed = vi.fn();
  recorder.onChange(changed);
  const setup = scriptedClient({ devtools: recorder });
  const followed = setup.follow(setup.orders.find({ a: 1 }));
  await settle();
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket, [{ _id: 1 }]);
  return { ...setup, ...followed, recorder, changed };
}

test("shows each query with its status, its size and the age of its cursor", async () => {
  const { recorder, service, stop } = await live();
  await pass(1_500);
  expect(recorder.clients[0]?.client.state.status).toBe("connected");
  expect(recorder.queries()).toEqual([
    {
      collection: "orders",
      request: '{"filter":{"a":1}}',
      status: "live",
      rows: 1,
      bytes: '[{"_id":1}]'.length,
      ageMs: 1_500,
      isFollowed: true,
      why: "",
    },
  ]);
  service.socket.tell({ type: "watermark", cursor: "c2" });
  expect(recorder.queries()[0]?.ageMs).toBe(0);
  stop();
  expect(recorder.queries()[0]?.isFollowed).toBe(false);
});

test("counts messages and keeps the last changes, fences and ends, and no more than fifty of each", async () => {
  const { recorder, service, client, changed } = await live();
  const before = recorder.bytes;
  changed.mockClear();
  for (let id = 0; id < 60; id++) service.socket.tell(added(id, `c${id}`));
  expect(changed).toHaveBeenCalled();
  expect([recorder.messages, recorder.bytes > before]).toEqual([63, true]);
  expect([recorder.changes.length, recorder.changes.at(-1)?.text]).toEqual([50, '{"doc":{"_id":59}}']);
  const fences = Array.from({ length: 60 }, (_, i) => client.fence({ t: 7, i }));
  service.socket.tell({ type: "fenced", id: service.socket.last("fence").id, cursor: "c9" });
  await fences.at(-1);
  await settle();
  expect(recorder.fences.length).toBe(50);
  expect(recorder.fences.at(-1)).toMatchObject({ time: "7.59", outcome: "passed" });
  for (const fence of fences) fence.catch(() => {});
  for (let end = 0; end < 60; end++) recorder.cut(1006, "");
  expect(recorder.ends.length).toBe(50);
});

test("says why a query has stopped, and shortens long documents", async () => {
  const { recorder, service } = await live();
  const doc = { _id: 2, text: "x".repeat(10_000) };
  service.socket.tell({ type: "added", query: 1, cursor: "c2", cause: "insert", doc });
  expect(recorder.changes[0]?.text.length).toBe(301);
  const { id } = service.socket.last("subscribe");
  service.socket.tell({
    type: "error",
    id,
    code: "forbidden",
    message: "not yours",
    retry: "never",
    details: { part: "filter" },
  });
  service.socket.tell({ type: "unsubscribed", id, reason: "forbidden" });
  expect(recorder.queries()[0]?.why).toBe('forbidden: not yours {"part":"filter"}');
});

test("on a server there is a recorder, and no element", () => {
  expect(createDevtools().queries()).toEqual([]);
});

/** Lists that grow page by page. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type PagesState, pages } from "../../../src/client/pages/pages.ts";
import type { SubscribeMessage } from "../../../src/protocol/messages.ts";
import type { FakeSocket } from "../../support/fake-service.ts";
import { pass, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Row {
  _id: number;
}

const rows = (from: number, to: number): Row[] =>
  Array.from({ length: to - from + 1 }, (_, at) => ({ _id: from + at }));

/** Answers requests, and remembers their numbers by the text of the filter. */
class Answers {
  readonly #socket: FakeSocket;
  #count = 0;
  #answered = 0;

  constructor(socket: FakeSocket) {
    this.#socket = socket;
  }

  /** Requests that were not answered yet. */
  get open(): SubscribeMessage[] {
    return this.#socket.of("subscribe").slice(this.#answered);
  }

  /** Answers the next request with these documents. */
  next(docs: Row[]): number {
    const [message] = this.open;
    if (message === undefined) throw new Error("nothing to answer");
    this.#answered++;
    const query = ++this.#count;
    this.#socket.tell(
      { type: "subscribed", id: message.id, query, start: "snapshot", cursor: "c1", ticket: "t" },
      { type: "snapshot", query, docs: docs as never, cursor: "c1", last: true },
    );
    return query;
  }

  refuse(code = "bad-filter"): void {
    const [message] = this.open;
    this.#answered++;
    this.#socket.tell({ type: "error", id: message?.id, code, message: "no", retry: "never" } as never);
  }
}

/** A list with its first page of two rows. */
async function live() {
  const setup = scriptedClient({ lingerMs: 10 });
  const list = pages(setup.client.collection<Row>("orders").find().sort("_id"), 2);
  const states: PagesState<Row>[] = [];
  const stop = list.subscribe((state) => void states.push(state));
  await settle();
  const { socket } = setup.service.sockets.length > 0 ? setup.service : setup.service;
  socket.welcome();
  const answers = new Answers(socket);
  answers.next(rows(1, 2));
  const shown = () => list.getState().data.map(({ _id }) => _id);
  return { ...setup, list, states, stop, socket, answers, shown };
}

test("begins with a window of one page", async () => {
  const { list, socket, states } = await live();
  expect(socket.of("subscribe")).toMatchObject([{ sort: [["_id", 1]], limit: 2 }]);
  expect(list.getState()).toEqual({
    data: rows(1, 2),
    status: "live",
    error: undefined,
    hasMore: true,
    isLoadingMore: false,
  });
  expect(list.getState()).toBe(states.at(-1));
});

test("keeps what is shown until the longer list is complete, and shows it at once", async () => {
  const { list, socket, states, answers, shown } = await live();
  states.length = 0;
  list.more();
  list.more();
  await settle();
  expect(answers.open).toMatchObject([
    { filter: { $or: [{ _id: { $lt: 2 } }, {}, { _id: 2 }] } },
    { filter: { $nor: [{}, {}, { _id: 2 }] }, limit: 2 },
  ]);
  expect(answers.open[0]).not.toHaveProperty("limit");
  expect(list.getState()).toMatchObject({
    data: rows(1, 2),
    isLoadingMore: true,
    hasMore: true,
    status: "live",
  });
  answers.next(rows(1, 2));
  expect(shown()).toEqual([1, 2]);
  answers.next(rows(3, 3));
  expect(list.getState()).toMatchObject({ data: rows(1, 3), isLoadingMore: false, hasMore: false });
  expect(states.map(({ data }) => data.length).every((length) => length >= 2)).toBe(true);
  await pass(1_000);
  expect(socket.of("unsubscribe").length).toBe(1);
  list.more();
  expect(answers.open).toEqual([]);
});

test("listeners receive a change although somebody has read the state before", async () => {
  const { list, socket, states } = await live();
  socket.tell({ type: "changed", query: 1, cursor: "c2", cause: "update", doc: { _id: 1, n: 1 } });
  const read = list.getState();
  expect(read.data[0]).toEqual({ _id: 1, n: 1 });
  const late: PagesState<Row>[] = [];
  list.subscribe((state) => void late.push(state));
  await pass(200);
  expect([states.at(-1), late]).toEqual([read, [read]]);
});

test("a document that arrives in one page before it leaves another one is shown once", async () => {
  const { list, socket, answers, shown } = await live();
  list.more();
  await settle();
  const first = answers.next(rows(1, 2));
  const second = answers.next(rows(3, 4));
  socket.tell({ type: "added", query: first, cursor: "c2", cause: "update", doc: { _id: 4 }, before: 1 });
  expect(shown()).toEqual([4, 1, 2, 3]);
  socket.tell({ type: "removed", query: second, cursor: "c2", cause: "update", _id: 4 });
  expect(shown()).toEqual([4, 1, 2, 3]);
});

test("a part that grows too long is divided, while everything stays shown", async () => {
  const { list, socket, answers, shown } = await live();
  list.more();
  await settle();
  const first = answers.next(rows(1, 2));
  answers.next(rows(3, 4));
  for (const _id of [0.1, 0.2, 0.3])
    socket.tell({ type: "added", query: first, cursor: `c${_id}`, cause: "insert", doc: { _id }, before: 1 });
  await pass(200);
  expect(answers.open.length).toBe(2);
  const before = shown();
  expect(list.getState().isLoadingMore).toBe(false);
  answers.next([{ _id: 0.1 }, { _id: 0.2 }]);
  answers.next([{ _id: 0.3 }, { _id: 1 }, { _id: 2 }]);
  expect(shown()).toEqual(before);
  expect(shown()).toEqual([0.1, 0.2, 0.3, 1, 2, 3, 4]);
});

test("a page that the service refuses is given up, the list stays, and the state says why", async () => {
  const { list, answers } = await live();
  list.more();
  await settle();
  answers.refuse();
  expect(list.getState()).toMatchObject({
    data: rows(1, 2),
    status: "live",
    error: { code: "bad-filter" },
    isLoadingMore: false,
  });
  await pass(1_000);
  const before = answers.open.length;
  list.more();
  await settle();
  expect(answers.open.length).toBe(before + 2);
});

test("nothing is followed without a listener, and the list goes on as long as it was", async () => {
  const { list, socket, stop, answers, shown } = await live();
  list.more();
  await settle();
  answers.next(rows(1, 2));
  answers.next(rows(3, 4));
  stop();
  stop();
  const again = list.subscribe(() => {});
  await pass(1_000);
  expect(socket.of("unsubscribe").length).toBe(1);
  expect(shown()).toEqual([1, 2, 3, 4]);
  again();
  await pass(1_000);
  expect(socket.of("unsubscribe").length).toBe(3);
  list.more();
  expect(answers.open).toEqual([]);
});

test("a query without a sort, with a limit, or that hides its sort has no pages; the error says what to do", () => {
  const { client } = scriptedClient();
  const find = () => client.collection<{ _id: number; a: number; b: number }>("orders").find();
  expect(() => pages(find(), 2)).toThrow(/with sort\(\) and without limit\(\)/);
  expect(() => pages(find().sort("a").limit(5), 2)).toThrow(/without limit\(\)/);
  expect(() => pages(find().sort("a").fields("b"), 2)).toThrow(/add "a" to fields\(\)/);
  expect(() => pages(find().sort("a"), 0)).toThrow(/positive integer/);
  expect(() => pages(find().sort("_id").fields("b"), 2)).not.toThrow();
});

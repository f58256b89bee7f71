/** The pure parts of the demo: what the backend writes, and how a view and the screen are made. */
import { expect, test } from "vitest";
import { ChangeLog } from "../../../src/demo/change-log.ts";
import { FEWEST, MOST, type Move, nextMove } from "../../../src/demo/next-move.ts";
import { type Order, STATUSES } from "../../../src/demo/order.ts";
import { drawScreen, type Screen } from "../../../src/demo/screen.ts";
import { MARKED_FOR_MS, View } from "../../../src/demo/view.ts";
import { paintWith } from "../../../src/terminal/paint.ts";

const order = (_id: number, fields: Partial<Order> = {}): Order => ({
  _id,
  customer: "ben",
  courier: null,
  status: "new",
  address: "98 Oak Av",
  total: 36.5,
  margin: 11.5,
  ...fields,
});

/** A small generator (mulberry32), so that a failure can be seen again. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function apply(board: readonly Order[], move: Move): Order[] {
  if ("insert" in move) return [...board, move.insert];
  if ("remove" in move) return board.filter(({ _id }) => _id !== move.remove);
  return board.map((one) => (one._id === move.update ? { ...one, ...move.set } : one));
}

test("the backend keeps the board at a size that can be seen, and does all that a board has", () => {
  const random = dice(7);
  const seen = new Set<string>();
  let board: Order[] = [];
  let nextId = 1_001;
  for (let step = 0; step < 2_000; step++) {
    const move = nextMove(board, nextId, random);
    if ("insert" in move) nextId++;
    seen.add("insert" in move ? "insert" : "remove" in move ? "remove" : Object.keys(move.set).join());
    board = apply(board, move);
    expect(board.length).toBeLessThanOrEqual(MOST);
    if (step > 10) expect(board.length).toBeGreaterThanOrEqual(FEWEST - 1);
    for (const { status, courier } of board) {
      expect(courier === null).toBe(STATUSES.indexOf(status) < STATUSES.indexOf("ready"));
    }
  }
  expect([...seen].sort()).toEqual([
    "customer",
    "insert",
    "margin",
    "remove",
    "status",
    "status,courier",
    "total",
  ]);
});

const subscribed = {
  type: "subscribed",
  id: "1",
  query: 1,
  start: "snapshot",
  cursor: "c0",
  ticket: "t",
} as const;
const added = (doc: Order, cursor: string) =>
  ({ type: "added", query: 1, cursor, cause: "insert", doc: { ...doc } }) as const;
const changed = (doc: Order, cursor: string) =>
  ({ type: "changed", query: 1, cursor, cause: "update", doc: { ...doc } }) as const;
const removed = (_id: number, cursor: string) =>
  ({ type: "removed", query: 1, cursor, cause: "delete", _id }) as const;

test("a view marks what enters, changes and leaves for a while, in the order of the ids", () => {
  const view = new View();
  view.take(subscribed, 0);
  view.take({ type: "snapshot", query: 1, docs: [{ ...order(2) }], cursor: "c1", last: true }, 0);
  view.take(added(order(1), "c2"), 100);
  expect(view.rows(100).map(({ shown, mark }) => [shown._id, mark])).toEqual([
    [1, "+"],
    [2, null],
  ]);
  view.take(changed(order(2, { total: 1 }), "c3"), 200);
  view.take(removed(1, "c4"), 300);
  expect(view.rows(300).map(({ shown, mark }) => [shown._id, mark])).toEqual([
    [1, "-"],
    [2, "~"],
  ]);
  expect(view.documents).toEqual([order(2, { total: 1 })]);
  expect(view.rows(300 + MARKED_FOR_MS).map(({ shown, mark }) => [shown._id, mark])).toEqual([[2, null]]);
});

test("a reset empties a view, a resumption does not", () => {
  const view = new View();
  view.take(added(order(1), "c1"), 0);
  view.take({ ...subscribed, start: "resumed" }, 0);
  expect(view.documents).toHaveLength(1);
  view.take({ type: "reset", query: 1, ticket: "t", reason: "lagged" }, 0);
  expect(view.documents).toEqual([]);
});

test("the log has one line per write, with the change that each viewer received", () => {
  const log = new ChangeLog();
  const before = order(1, { status: "cooking" });
  const after = order(1, { status: "ready", courier: "cleo" });
  const told = { id: 1, cursor: "c1" };
  const { courier: _, margin: __, ...forBen } = after;
  log.add("ben", { ...told, mark: "~", before: { ...forBen, status: "cooking" }, after: forBen }, 0);
  log.add("ada", { ...told, mark: "~", before, after }, 1);
  log.add("cleo", { ...told, mark: "+", before: undefined, after: { _id: 1, status: "ready" } }, 2);
  log.add("ada", { id: 1, cursor: "c2", mark: "~", before: after, after: { ...after, margin: 9 } }, 3);
  expect(log.latest.map(({ text, marks }) => [text, Object.fromEntries(marks)])).toEqual([
    ["cooking → ready, for cleo", { ben: "~", ada: "~", cleo: "+" }],
    ["margin 11.5 → 9", { ada: "~" }],
  ]);
});

function screen(): Screen {
  const orders = Array.from({ length: MOST }, (_, at) =>
    order(1_001 + at, { status: "delivered", customer: "finn" }),
  );
  const rows = orders.map((shown, at) => ({ shown, mark: at === 0 ? ("+" as const) : null }));
  const ben = orders.slice(3).map(({ margin: _, ...shown }) => ({ shown, mark: null }));
  const cleo = [{ shown: { _id: 1_001, status: "riding", address: "98 Oak Av" }, mark: null }] as const;
  const log = new ChangeLog();
  log.add(
    "ada",
    { id: 1_001, cursor: "c", mark: "~", before: order(1_001), after: order(1_001, { margin: 1 }) },
    0,
  );
  return {
    columns: [
      { title: "ada, admin", sees: "every order, all fields", state: "", rows },
      { title: "ben, customer", sees: "own orders, no margin", state: "connecting", rows: ben },
      { title: "cleo, courier", sees: "her rides, no prices", state: "", rows: cleo },
    ],
    log: log.latest,
    note: "service: process 1, backend: process 2",
    viewers: ["ada", "ben", "cleo"],
    page: "http://127.0.0.1:8480/demo",
  };
}

test("the screen fits into 80 columns and 24 rows, with nothing cut off", () => {
  const lines = drawScreen(screen(), { width: 80, height: 23 }, paintWith(false));
  expect(lines).toHaveLength(23);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  expect(lines.join("\n")).not.toContain("…");
  expect(lines.at(-1)).toContain("http://127.0.0.1:8480/demo");
  expect(lines[0]).toMatch(/ada, admin .* ben: connecting .* cleo, courier/);
  expect(lines[2]).toContain("+1001 delivered finn  36.5  11.5 │ 1004 delivered  36.5");
  expect(lines.join("\n")).toMatch(/1001 margin 11\.5 → 1 +ada ~ {3}ben · {3}cleo ·/);
});

test.each([8, 10, 16, 23, 40])("the address of the page is in sight in %i rows", (height) => {
  const lines = drawScreen(screen(), { width: 80, height }, paintWith(false));
  expect(lines.length).toBeLessThanOrEqual(height);
  expect(lines.at(-1)).toContain("http://127.0.0.1:8480/demo");
});

test("a lower terminal loses the log first, and never gets more lines than it has", () => {
  expect(drawScreen(screen(), { width: 80, height: 16 }, paintWith(false)).join("\n")).not.toContain(
    "margin 11.5",
  );
  expect(drawScreen(screen(), { width: 80, height: 10 }, paintWith(false))).toHaveLength(10);
});

test("colours change nothing but colours", () => {
  const size = { width: 80, height: 23 };
  const coloured = drawScreen(screen(), size, paintWith(true)).join("\n");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins each colour.
  const bare = coloured.replaceAll(/\x1b\[\d+m/g, "");
  expect(coloured).not.toBe(bare);
  expect(bare).toBe(drawScreen(screen(), size, paintWith(false)).join("\n"));
});

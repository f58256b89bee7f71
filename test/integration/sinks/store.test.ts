/** The state of sinks in a real MongoDB: which writes take effect, and which come too late. */
import { expect, test } from "vitest";
import { NEW_STATE, type SinkState, type SinkTurn } from "../../../src/sinks/sink-documents.ts";
import { SinkStore, type SinkWrites } from "../../../src/sinks/sink-store.ts";
import { testDatabase } from "../../support/mongod.ts";
import { sinkMessage } from "../../support/sink-messages.ts";

const ALL = { messages: 100, bytes: 1_000_000 };
const NOTHING = { spool: [], delivered: [], park: [], unpark: [] };

const spooled = (seq: number, lane: string | null = null, dueAtMs: number | null = null) => {
  const message = sinkMessage(`m${seq}`, lane ?? String(seq));
  return { seq, lane, message, atMs: 1_000 * seq, attempts: 0, dueAtMs, reason: null };
};

async function storeOf() {
  const { client, db } = await testDatabase();
  const store = new SinkStore(db, client);
  await store.prepare();
  const begin = async (fence: bigint, node: string): Promise<{ turn: SinkTurn; state: SinkState }> => {
    const begun = await store.begin("late", fence, node);
    if (begun === null) throw new Error("there is a newer holder");
    return begun;
  };
  const save = (turn: SinkTurn, state: Partial<SinkState>, writes: Partial<SinkWrites> = {}) =>
    store.save("late", turn, { ...NOTHING, ...writes, state: { ...NEW_STATE, ...state } });
  const places = async () => (await store.spooled("late", null, 0, ALL)).messages.map(({ seq }) => seq);
  const stateOf = async () => (await store.states())[0];
  return { store, begin, save, places, stateOf };
}

test("only the newest holder writes: a frozen one changes neither position nor spool nor parked messages", async () => {
  const { store, begin, save, places, stateOf } = await storeOf();
  const old = await begin(1n, "a");
  expect(old.state).toMatchObject({ position: null });
  const { turn } = await begin(2n, "b");
  expect(await store.begin("late", 1n, "a")).toBeNull();
  const parked = {
    message: sinkMessage("p"),
    reason: "refused",
    excerpt: "",
    attempts: 1,
    atMs: 0,
    parkedAtMs: 0,
    rights: 0,
  };
  const state = { position: { cursor: "c", ticket: "t" } };
  const writes = { spool: [spooled(1)], park: [parked] };
  expect(await save(old.turn, state, writes)).toBe(false);
  expect(await save(old.turn, state)).toBe(false);
  expect(await store.parked("late", { limit: 1 })).toEqual([]);
  expect(await places()).toEqual([]);
  expect((await stateOf())?.position).toBeNull();
  expect(await save(turn, state, writes)).toBe(true);
  expect((await store.spooled("late", null, 0, ALL)).messages).toEqual([spooled(1)]);
});

test("a frozen holder that empties a spool leaves the messages of its successor, and the decisions of admins", async () => {
  const { store, begin, save, places, stateOf } = await storeOf();
  const old = await begin(1n, "a");
  await save(old.turn, { lastSeq: 2, saves: 1 }, { spool: [spooled(1), spooled(2)] });
  const { turn } = await begin(2n, "b");
  expect(await store.emptySome("late", 2)).toBe(false);
  await save(turn, { lastSeq: 3, saves: 2 }, { spool: [spooled(3)] });
  await store.setControl("late", { isPaused: true, disabled: null });
  await store.emptySome("late", 2);
  expect(await store.disable("late", old.turn, { at: new Date(), reason: "410" })).toBe(false);
  expect(await places()).toEqual([3]);
  expect(await stateOf()).toMatchObject({ isPaused: true, disabled: null });
  expect(await store.disable("late", turn, { at: new Date(), reason: "410" })).toBe(true);
  expect(await stateOf()).toMatchObject({ isPaused: true, disabled: { reason: "410" } });
});

test("a save that arrives late has no effect: neither after a newer one nor in the next run of its holder", async () => {
  const { begin, save, places, stateOf } = await storeOf();
  const first = await begin(1n, "a");
  const late = { spool: [spooled(1)] };
  expect(await save(first.turn, { lastSeq: 1, saves: 1 }, late)).toBe(true);
  expect(await save(first.turn, { lastSeq: 2, saves: 2 }, { delivered: [1] })).toBe(true);
  expect(await save(first.turn, { lastSeq: 1, saves: 1 }, late)).toBe(false);
  expect(await places()).toEqual([]);
  expect((await stateOf())?.lastSeq).toBe(2);
  // A repetition of the newest one does no harm.
  expect(await save(first.turn, { lastSeq: 2, saves: 2 }, { delivered: [1] })).toBe(true);
  const next = await begin(1n, "a");
  expect(next.state.saves).toBe(2);
  expect(await save(first.turn, { lastSeq: 3, saves: 3 }, { spool: [spooled(3)] })).toBe(false);
  expect(await places()).toEqual([]);
  expect(await save(next.turn, { lastSeq: 3, saves: 3 })).toBe(true);
});

/** Documents with values of JavaScript. */
import { BSON } from "mongodb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { native, ObjectId } from "../../../src/client/native.ts";
import { optimistic } from "../../../src/client/optimistic/optimistic.ts";
import { encodeDocument } from "../../../src/match/encode.ts";
import { EVERYTHING } from "../../../src/match/projection.ts";
import { answerSnapshot, scriptedClient, settle } from "../../support/scripted-client.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const HEX = "65a5b1c2d3e4f5a6b7c8d901";
const AT = "2026-05-04T12:00:00.000Z";

async function live(docs: object[]) {
  const setup = scriptedClient({ values: native });
  const changes: unknown[] = [];
  const query = setup.orders.find({ _id: { $ne: new ObjectId("0".repeat(24)) as never } }).sort("at");
  query.subscribe({ change: (change) => void changes.push(change) });
  await settle();
  setup.service.socket.welcome();
  answerSnapshot(setup.service.socket, docs);
  return { ...setup, query, changes, socket: setup.service.socket };
}

test("every type arrives as JavaScript has it, or stays Extended JSON", async () => {
  const bytes = BSON.serialize({
    _id: new BSON.ObjectId(HEX),
    at: new Date(AT),
    old: new Date(-1),
    long: BSON.Long.fromString("9007199254740993"),
    int: 5,
    nan: Number.NaN,
    bytes: new BSON.Binary(Buffer.from([1, 2])),
    uuid: new BSON.UUID("a5b1c2d3-e4f5-46b7-88d9-02aabbccddee"),
    decimal: BSON.Decimal128.fromString("1.50"),
    inner: [{ at: new Date(AT) }, null, "text"],
  });
  const { query, socket } = await live([JSON.parse(encodeDocument(bytes, EVERYTHING, "ejson"))]);
  expect(socket.last("hello").values).toBe("ejson");
  expect(socket.last("subscribe").filter).toEqual({ _id: { $ne: { $oid: "0".repeat(24) } } });
  expect(query.getState().data).toEqual([
    {
      _id: new ObjectId(HEX),
      at: new Date(AT),
      old: new Date(-1),
      long: 9007199254740993n,
      int: 5,
      nan: Number.NaN,
      bytes: new Uint8Array([1, 2]),
      uuid: { $binary: { base64: "pbHC0+T1RreI2QKqu8zd7g==", subType: "04" } },
      decimal: { $numberDecimal: "1.50" },
      inner: [{ at: new Date(AT) }, null, "text"],
    },
  ]);
});

test("documents and results stay the same objects until they change, and changes are converted too", async () => {
  const doc = { _id: { $oid: HEX }, at: { $date: AT } };
  const { query, socket, changes } = await live([doc]);
  const [held] = query.getState().data;
  socket.tell({ type: "watermark", cursor: "c2" });
  expect(query.getState().data[0]).toBe(held);
  expect(changes).toEqual([{ type: "snapshot", docs: [held] }]);
  expect((changes[0] as { docs: unknown[] }).docs[0]).toBe(held);
  const other = { $oid: "65a5b1c2d3e4f5a6b7c8d902" };
  socket.tell({
    type: "added",
    query: 1,
    cursor: "c3",
    cause: "insert",
    doc: { _id: other },
    before: doc._id,
  });
  expect(changes[1]).toMatchObject({ doc: { _id: new ObjectId(other.$oid) }, before: new ObjectId(HEX) });
  expect(query.getState().data[1]).toBe(held);
  socket.tell({ type: "removed", query: 1, cursor: "c4", cause: "delete", _id: doc._id });
  expect(changes[2]).toMatchObject({ type: "removed", _id: new ObjectId(HEX) });
  expect((changes[2] as { doc: unknown }).doc).toBe(held);
});

test("an optimistic change finds documents by their ObjectId, and sorts by dates", async () => {
  const { query } = await live([{ _id: { $oid: HEX }, at: { $date: AT } }]);
  const never = () => new Promise<object>(() => {});
  const earlier = { _id: new ObjectId("65a5b1c2d3e4f5a6b7c8d902"), at: new Date(0) };
  void optimistic(query, { insert: earlier as never }, never);
  expect(query.getState().data[0]).toBe(earlier);
  void optimistic(query, { remove: new ObjectId(HEX) as never }, never);
  expect(query.getState().data).toEqual([earlier]);
});

test("an ObjectId is equal to its text, knows its time, and refuses other text", () => {
  const id = new ObjectId(HEX.toUpperCase());
  expect([id.toHexString(), String(id), JSON.stringify(id)]).toEqual([HEX, HEX, `{"$oid":"${HEX}"}`]);
  expect([id.equals(HEX), id.equals(new BSON.ObjectId(HEX)), id.equals("")]).toEqual([true, true, false]);
  expect(id.getTimestamp()).toEqual(new BSON.ObjectId(HEX).getTimestamp());
  expect(() => new ObjectId("x")).toThrow(/24 hex digits/);
});

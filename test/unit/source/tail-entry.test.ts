import { BSON, Timestamp } from "mongodb";
import { expect, test } from "vitest";
import {
  decodeEntry,
  encodeEntry,
  formatEntryId,
  idBefore,
  parseEntryId,
  type TailEntry,
} from "../../../src/source/tail/tail-entry.ts";

const document = (value: object) => Buffer.from(BSON.serialize(value));

const ENTRY: TailEntry = {
  from: 2n ** 63n + 5n, // cluster times are unsigned
  to: 2n ** 64n - 1n,
  part: 3,
  isLast: true,
  resumeToken: new Uint8Array(document({ _data: "82" })),
  readAtMs: 1_700_000_000_123,
  totalBytes: 2 ** 40,
  events: [document({}), document({ _id: 1, text: "ä" })],
};

test.each<[string, TailEntry]>([
  ["with a token", ENTRY],
  ["without a token and events", { ...ENTRY, resumeToken: undefined, events: [], isLast: false }],
])("an entry %s is read as it was written", (_name, entry) => {
  const { header, events } = encodeEntry(entry);
  expect(decodeEntry(header, events)).toEqual(entry);
});

const { header, events } = encodeEntry(ENTRY);
test.each<[string, Buffer, Buffer]>([
  ["no BSON", Buffer.from("something"), events],
  ["another version", document({ v: 2, from: new Timestamp(1n), to: new Timestamp(2n) }), events],
  ["a header without its fields", document({ v: 1 }), events],
  ["events that are cut off", header, events.subarray(0, -1)],
  ["events with an impossible length", header, Buffer.from([4, 0, 0, 0, 0])],
  ["a rest after the events", header, Buffer.concat([events, Buffer.from([0])])],
])("%s is no entry", (_name, head, rest) => {
  expect(decodeEntry(head, rest)).toBeNull();
});

test("ids of Redis keep all 64 bits, and the id before a cluster time is the last one of the time before", () => {
  const text = `${2n ** 64n - 1n}-7`;
  expect(formatEntryId(parseEntryId(text))).toBe(text);
  expect(formatEntryId(idBefore(8n))).toBe(`7-${2n ** 64n - 1n}`);
  expect(() => parseEntryId("5")).toThrow();
});

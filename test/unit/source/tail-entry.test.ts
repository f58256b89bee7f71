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
import { PART_BYTES, partsOf } from "../../../src/source/tail/tail-writer.ts";

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
  isCut: false,
};

test.each<[string, TailEntry]>([
  ["with a token", ENTRY],
  ["without a token and events", { ...ENTRY, resumeToken: undefined, events: [], isLast: false }],
  ["with a slice of an event", { ...ENTRY, events: [Buffer.from([1, 2, 3])], isCut: true }],
])("an entry %s is read as it was written", (_name, entry) => {
  const { header, events } = encodeEntry(entry);
  expect(decodeEntry(header, events)).toEqual(entry);
});

const { header, events } = encodeEntry(ENTRY);
test.each<[string, Buffer, Buffer]>([
  ["no BSON", Buffer.from("something"), events],
  ["another version", document({ v: 3, from: new Timestamp(1n), to: new Timestamp(2n) }), events],
  ["a header without its fields", document({ v: 2 }), events],
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

const eventOf = (bytes: number) => {
  const event = Buffer.alloc(bytes, 7);
  if (bytes >= 4) event.writeInt32LE(bytes);
  return event;
};

test("a part has at most a mebibyte, and a larger event has parts of its own", () => {
  const events = [
    ...[100, PART_BYTES - 100, 1, PART_BYTES],
    ...[PART_BYTES + 1, 5],
    ...[16 * PART_BYTES, 16 * PART_BYTES + 3],
  ].map(eventOf);
  const parts = partsOf(events);
  for (const { events: some } of parts)
    expect(some.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(PART_BYTES);
  // Comparing 35 MiB byte by byte in the test library would take minutes.
  const joined = Buffer.concat(parts.flatMap((part) => part.events));
  expect(joined.equals(Buffer.concat(events))).toBe(true);
  expect(parts.slice(0, 6).map((part) => [part.isCut, part.events.length])).toEqual([
    [false, 2],
    [false, 1],
    [false, 1],
    [true, 1],
    [true, 1],
    [false, 1],
  ]);
  expect(partsOf([])).toEqual([{ events: [], isCut: false }]);
});

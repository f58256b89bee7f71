import fc from "fast-check";
import { expect, test } from "vitest";
import { AFTER, BEFORE, CursorCodec, epochOf, type Position } from "../../../src/feed/cursor.ts";

const EPOCH = { id: "0123abcd", cursorKey: new Uint8Array(16).fill(7) };
const codec = new CursorCodec(EPOCH);
const position: fc.Arbitrary<Position> = fc.record({
  clusterTime: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  within: fc.oneof(fc.constantFrom(BEFORE, AFTER), fc.integer({ min: 0, max: 0xffff_ffff })),
});

test("a cursor is read as the position that it was made of, on every node of the epoch", () => {
  const other = new CursorCodec({ ...EPOCH, cursorKey: Uint8Array.from(EPOCH.cursorKey) });
  fc.assert(
    fc.property(position, (point) => {
      const cursor = codec.encode(point);
      expect(codec.decode(cursor)).toEqual(point);
      expect(other.encode(point)).toBe(cursor);
      expect(epochOf(cursor)).toBe(EPOCH.id);
    }),
  );
});

test("different positions have different cursors, which reveal neither time nor order", () => {
  const cursors = Array.from({ length: 256 }, (_, n) =>
    Buffer.from(codec.encode({ clusterTime: BigInt(n), within: BEFORE }), "base64url"),
  );
  expect(new Set(cursors.map(String)).size).toBe(256);
  // Neighbours have no more in common than strangers: about one byte in 256 of those after the epoch.
  let equal = 0;
  for (let n = 1; n < cursors.length; n++) {
    for (let at = 4; at < 20; at++) if (cursors[n]?.[at] === cursors[n - 1]?.[at]) equal++;
  }
  expect(equal / (255 * 16)).toBeLessThan(0.02);
});

test("a cursor with one bit changed is invalid, or of another epoch where that is the bit", () => {
  const cursor = Buffer.from(codec.encode({ clusterTime: 123n << 32n, within: 5 }), "base64url");
  for (let bit = 0; bit < cursor.length * 8; bit++) {
    const altered = Buffer.from(cursor);
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(codec.decode(altered.toString("base64url"))).toBe(bit < 32 ? "other-epoch" : "invalid");
  }
});

test("accepts a cursor only in the spelling in which it was sent", () => {
  const cursor = codec.encode({ clusterTime: 1n, within: AFTER });
  const bytes = Buffer.from(cursor, "base64url");
  for (const text of [
    `${cursor}=`,
    ` ${cursor}`,
    `${cursor}\n`,
    `${cursor}A`,
    cursor.slice(0, -1),
    bytes.toString("hex"),
    "",
  ]) {
    expect(codec.decode(text), JSON.stringify(text)).toBe("invalid");
  }
  const plain = bytes.toString("base64");
  if (plain.replace(/=+$/, "") !== cursor) expect(codec.decode(plain)).toBe("invalid");
});

test("a cursor of another epoch is recognized, with the same key and with another", () => {
  const other = new CursorCodec({ id: "ffffffff", cursorKey: EPOCH.cursorKey });
  expect(codec.decode(other.encode({ clusterTime: 1n, within: 0 }))).toBe("other-epoch");
  const rekeyed = new CursorCodec({ id: EPOCH.id, cursorKey: new Uint8Array(16).fill(8) });
  expect(codec.decode(rekeyed.encode({ clusterTime: 1n, within: 0 }))).toBe("invalid");
});

test("a commit's tag is the same on every node, and never means before or after all of its time", () => {
  const tags = new Set<number>();
  for (let n = 0; n < 2_000; n++) {
    const tag = codec.tag(`82${n}`);
    expect(tag).toBe(new CursorCodec(EPOCH).tag(`82${n}`));
    expect(tag).toBeGreaterThan(BEFORE);
    expect(tag).toBeLessThan(AFTER);
    tags.add(tag);
  }
  expect(tags.size).toBeGreaterThan(1_998);
  const other = new CursorCodec({ ...EPOCH, cursorKey: new Uint8Array(16).fill(9) });
  expect(other.tag("820")).not.toBe(codec.tag("820"));
});

import fc from "fast-check";
import { expect, test } from "vitest";
import * as library from "ws";
import { joinFrames } from "../../../src/gateway/transports/ws-frames.ts";

interface Parser {
  on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  write(bytes: Buffer): void;
}
/** The library exports its parser, and its types do not. */
const { Receiver } = library as unknown as { Receiver: new (options: object) => Parser };

/** Reads frames as a client of the `ws` library does, in pieces of any size. */
function read(frames: Buffer, pieces: readonly number[] = []): string[] {
  const receiver = new Receiver({ isServer: false, allowSynchronousEvents: true, maxPayload: 0 });
  const texts: string[] = [];
  receiver.on("message", (data: Buffer, isBinary: boolean) => {
    expect(isBinary).toBe(false);
    texts.push(data.toString());
  });
  receiver.on("error", (error: Error) => {
    throw error;
  });
  let at = 0;
  for (const piece of pieces) {
    receiver.write(frames.subarray(at, at + piece));
    at += piece;
  }
  receiver.write(frames.subarray(at));
  return texts;
}

/** RFC 6455, 5.2: the length takes 7 bits up to 125, 16 up to 65,535, and 64 above. */
test.each([
  [0, 2],
  [1, 2],
  [125, 2],
  [126, 4],
  [127, 4],
  [65_535, 4],
  [65_536, 10],
  [200_000, 10],
])("a text of %i bytes has a header of %i, and is read as it was", (size, headerBytes) => {
  const text = "x".repeat(size);
  const frames = joinFrames([{ text }]);
  expect(frames.length).toBe(headerBytes + size);
  expect(frames[0]).toBe(0x81); // final, text
  expect((frames[1] ?? 0) & 0x80).toBe(0); // a server does not mask
  expect(read(frames)).toEqual([text]);
});

test("lengths count bytes, not characters", () => {
  for (const size of [124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537]) {
    const text = `${"é".repeat(size >> 1)}${"x".repeat(size % 2)}`;
    expect(read(joinFrames([{ text }, { text: "after" }]))).toEqual([text, "after"]);
  }
});

test("whatever is joined is read as it was, wherever the network cuts it", () => {
  const texts = fc.array(
    fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.integer({ min: 120, max: 130 }).map((n) => "y".repeat(n)),
    ),
    {
      maxLength: 8,
    },
  );
  fc.assert(
    fc.property(texts, fc.array(fc.nat(40)), (list, pieces) => {
      expect(read(joinFrames(list.map((text) => ({ text }))), pieces)).toEqual(list);
    }),
  );
});

test("no text makes no bytes", () => {
  expect(joinFrames([])).toHaveLength(0);
});

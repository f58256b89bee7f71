import { gunzipSync, inflateRawSync } from "node:zlib";
import { expect, test } from "vitest";
import { Chunk, type EncodedMessage, headOf } from "../../../src/feed/chunk.ts";
import { SharedCompression } from "../../../src/feed/shared-compression.ts";
import { GzipAnswer } from "../../../src/gateway/transports/gzip-answer.ts";
import { headIn, joinDeflatedFrames, toDeflatedFrame } from "../../../src/gateway/transports/ws-frames.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { startSeed } from "../../property/seed.ts";
import { Random } from "../../support/random.ts";

const MIN_BYTES = 100;
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);

const newCompression = () => new SharedCompression(MIN_BYTES, createMetrics());

function messageOf(rest: string, type = "added"): EncodedMessage {
  return { type, text: headOf(type) + rest, cursor: "c" };
}

/** The messages of unmasked frames, as a client reads them (RFC 6455, 5.2; RFC 7692, 7.2.2). */
function textsIn(frames: Buffer): { text: string; isCompressed: boolean }[] {
  const texts: { text: string; isCompressed: boolean }[] = [];
  for (let at = 0; at < frames.length; ) {
    const flags = frames[at]!;
    let size = frames[at + 1]!;
    let start = at + 2;
    if (size === 126) {
      size = frames.readUInt16BE(start);
      start += 2;
    } else if (size === 127) {
      size = Number(frames.readBigUInt64BE(start));
      start += 8;
    }
    expect(flags & 0x8f).toBe(0x81);
    const isCompressed = (flags & 0x40) !== 0;
    const payload = frames.subarray(start, start + size);
    const bytes = isCompressed ? inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: 2 }) : payload;
    texts.push({ text: bytes.toString(), isCompressed });
    at = start + size;
  }
  return texts;
}

test("compressed frames hold the messages, under each number", () => {
  const random = new Random(startSeed("compressed frames"));
  for (let round = 0; round < 200; round++) {
    const messages = Array.from({ length: random.int(1, 5) }, () => {
      const words = Array.from({ length: random.int(0, 300) }, () =>
        random.pick(["open", "é", "😀", `${random.int(0, 1e6)}`]),
      );
      return messageOf(`"doc":{"a":"${words.join(" ")}"}}`, random.pick(["added", "changed", "snapshot"]));
    });
    const chunk = new Chunk(messages);
    const compression = newCompression();
    for (const number of [1, 7, 12_345]) {
      const numbered = chunk.numbered(number);
      const read = textsIn(joinDeflatedFrames(numbered, compression.of(numbered)));
      expect(read.map(({ text }) => text)).toEqual(numbered.messages.map(({ text }) => text));
      for (const [index, { isCompressed }] of read.entries())
        expect(isCompressed).toBe(compression.of(numbered).rests[index] !== null);
    }
  }
});

test("a chunk is compressed once for all numbers and all clients", async () => {
  const compression = newCompression();
  const chunk = new Chunk([messageOf("x".repeat(1_000))]);
  const deflated = compression.of(chunk.numbered(3));
  expect(compression.of(chunk)).toBe(deflated);
  await compression.prepare(chunk.numbered(4));
  expect(chunk.deflated).toBe(deflated);
  const later = new Chunk([messageOf("x".repeat(1_000))]);
  await Promise.all([compression.prepare(later), compression.prepare(later.numbered(2))]);
  expect(later.deflated?.rests[0]).toEqual(deflated.rests[0]);
});

test.each([
  ["one byte below server.compressionMinBytes", MIN_BYTES - 1, false],
  ["of server.compressionMinBytes", MIN_BYTES, true],
  ["of 64 KiB", 65_536, true],
  ["of more than 64 KiB, which takes too long in one turn", 65_537, false],
])("a message %s", (_name, bytes, isCompressed) => {
  const chunk = new Chunk([messageOf("x".repeat(bytes))]);
  expect(newCompression().of(chunk).rests[0] !== null).toBe(isCompressed);
});

test("a message of more than 64 KiB is compressed on other threads", async () => {
  const chunk = new Chunk([messageOf("x".repeat(1_000_000))]);
  const compression = newCompression();
  await compression.prepare(chunk);
  const [read] = textsIn(joinDeflatedFrames(chunk, compression.of(chunk)));
  expect(read).toEqual({ text: chunk.messages[0]?.text, isCompressed: true });
});

test("a message that does not become shorter is sent as it is", () => {
  const random = new Random(startSeed("incompressible"));
  const noise = Array.from({ length: 200 }, () => String.fromCharCode(random.int(0x4e_00, 0x9f_ff))).join("");
  const chunk = new Chunk([messageOf(noise)]);
  const compression = newCompression();
  const { rests, bytes } = compression.of(chunk);
  if (rests[0] === null) expect(bytes).toBe(0);
  expect(textsIn(joinDeflatedFrames(chunk, { rests, bytes }))[0]?.text).toBe(chunk.messages[0]?.text);
});

test("an event of Socket.IO has the shared part between its own beginning and end", () => {
  const chunk = new Chunk([messageOf(`"doc":{"a":"${"a".repeat(200)}"}}`)]);
  const rest = newCompression().of(chunk).rests[0];
  if (rest === null || rest === undefined) throw new Error("it is long enough");
  const [read] = textsIn(toDeflatedFrame(`42["added",${headIn(chunk, 0)}`, rest, "]"));
  expect(read?.text).toBe(`42["added",${chunk.messages[0]?.text}]`);
});

test("a namespace of Socket.IO may have any name", () => {
  const chunk = new Chunk([messageOf(`"doc":{"a":"${"a".repeat(200)}"}}`)]);
  const rest = newCompression().of(chunk).rests[0];
  if (rest === null || rest === undefined) throw new Error("it is long enough");
  const [read] = textsIn(toDeflatedFrame(`42/café,["added",${headIn(chunk, 0)}`, rest, "]"));
  expect(read?.text).toBe(`42/café,["added",${chunk.messages[0]?.text}]`);
});

test("an answer in gzip is put together from stored and shared parts of any size", () => {
  const random = new Random(startSeed("gzip answer"));
  for (let round = 0; round < 50; round++) {
    const gzip = new GzipAnswer();
    const pieces = [gzip.begin()];
    let plain = "";
    for (let part = random.int(1, 6); part > 0; part--) {
      const own = "é".repeat(random.pick([0, 1, 100, 32_767, 32_768, 70_000]));
      const message = messageOf("abc ".repeat(random.int(50, 500)));
      const rest = newCompression().of(new Chunk([message])).rests[0];
      if (rest === null || rest === undefined) throw new Error("it is long enough");
      const text = message.text.slice(headOf("added").length);
      pieces.push(gzip.stored(own), gzip.shared(text, rest));
      plain += own + text;
    }
    pieces.push(gzip.stored("]}"), gzip.end());
    expect(gunzipSync(Buffer.concat(pieces)).toString()).toBe(`${plain}]}`);
  }
});

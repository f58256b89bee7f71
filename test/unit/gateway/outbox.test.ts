import { expect, test } from "vitest";
import { Chunk } from "../../../src/feed/chunk.ts";
import { Outboxes } from "../../../src/feed/outboxes.ts";
import { Outbox } from "../../../src/gateway/connection/outbox.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { FakeTransport } from "./fake-transport.ts";

const LIMIT = 1_000;
const message = (size: number) => ({ type: "added", text: "x".repeat(size), cursor: undefined });
const chunkOf = (...sizes: number[]) => new Chunk(sizes.map(message));
const settled = () => new Promise(setImmediate);

function newOutbox() {
  const transport = new FakeTransport();
  return { transport, outbox: new Outbox(transport, LIMIT, guardParts()) };
}

test("takes chunks up to exactly its limit, and not one byte more", () => {
  const { transport, outbox } = newOutbox();
  expect(outbox.write(chunkOf(600))).toBe(true);
  expect(outbox.write(chunkOf(401))).toBe(false);
  expect(outbox.write(chunkOf(400))).toBe(true);
  expect(outbox.write(chunkOf(1))).toBe(false);
  expect(transport.bufferedBytes).toBe(LIMIT);
  transport.drain(1);
  expect(outbox.write(chunkOf(1))).toBe(true);
});

test("a message larger than the limit has room when nothing else waits, several together do not", () => {
  const { transport, outbox } = newOutbox();
  expect(outbox.write(chunkOf(600, 600))).toBe(false);
  expect(outbox.write(chunkOf(5_000))).toBe(true);
  expect(outbox.write(chunkOf(5_000))).toBe(false);
  transport.drain();
  expect(outbox.write(chunkOf(5_000))).toBe(true);
});

test("shared chunks are written as they are", () => {
  const { transport, outbox } = newOutbox();
  const chunk = chunkOf(10);
  outbox.write(chunk);
  expect(transport.chunks[0]).toBe(chunk);
});

test("answers are always accepted, but requests of a client that does not read wait until all answers have left", async () => {
  const { transport, outbox } = newOutbox();
  const pong = { type: "pong", nonce: "x".repeat(100) } as const;
  while (transport.bufferedBytes <= LIMIT) outbox.send(pong);
  outbox.send(pong);
  expect(transport.calls).toEqual(["pause"]);
  transport.drain(500);
  await settled();
  expect(transport.calls).toEqual(["pause"]);
  transport.drain();
  await settled();
  expect(transport.calls).toEqual(["pause", "resume"]);
});

test("pongs count like answers", async () => {
  const { transport, outbox } = newOutbox();
  for (let n = 0; n < 20; n++) outbox.pong(Buffer.alloc(100));
  expect(transport.calls).toEqual(["pause"]);
});

test("outboxes of one user share a limit, below which each takes up to its own, and above it 64 KiB", () => {
  const others = new Outboxes();
  const connect = () => {
    const transport = new FakeTransport();
    const outbox = new Outbox(transport, 1_000_000, guardParts());
    others.add(outbox);
    outbox.share(others, 300_000);
    return { transport, outbox };
  };
  const [one, two] = [connect(), connect()];
  expect(one.outbox.write(chunkOf(100_000, 100_000))).toBe(true);
  expect(two.outbox.write(chunkOf(50_000, 50_001)), "one byte more than the user's limit").toBe(false);
  expect(two.outbox.write(chunkOf(50_000, 50_000))).toBe(true);
  const three = connect();
  expect(three.outbox.write(chunkOf(65_000, 537)), "one byte more than 64 KiB").toBe(false);
  expect(three.outbox.write(chunkOf(65_000, 536))).toBe(true);
  one.transport.drain();
  expect(two.outbox.write(chunkOf(50_000, 50_000))).toBe(true);
});

test("answers count for the limit of the user as well", () => {
  const others = new Outboxes();
  const connect = () => {
    const outbox = new Outbox(new FakeTransport(), 1_000_000, guardParts());
    others.add(outbox);
    outbox.share(others, 300_000);
    return outbox;
  };
  const [one, two] = [connect(), connect()];
  one.pong(Buffer.alloc(200_001));
  expect(two.write(chunkOf(50_000, 50_000))).toBe(false);
  expect(two.write(chunkOf(50_000, 49_999))).toBe(true);
});

test("the outboxes of a user with many connections are summed when their limit may be reached, not with each write", () => {
  const others = new Outboxes();
  let lookups = 0;
  const transport = new FakeTransport();
  const outbox = new Outbox(transport, 1_000_000, guardParts());
  outbox.share(others, 1_000_000);
  const watched = {
    get bufferedBytes() {
      lookups++;
      return 0;
    },
  };
  others.add(watched);
  others.add(outbox);
  lookups = 0;
  for (let written = 0; written < 100; written++) {
    expect(outbox.write(chunkOf(50_000, 50_000))).toBe(true);
    transport.drain();
  }
  expect(lookups).toBeLessThanOrEqual(10);
});

test("room for so much is there when it would be taken", async () => {
  const { transport, outbox } = newOutbox();
  outbox.write(chunkOf(900));
  expect(await outbox.room(100)).toBe(true);
  let hasRoom = false;
  const room = outbox.room(101).then((value) => {
    hasRoom = value;
  });
  await settled();
  expect(hasRoom).toBe(false);
  transport.drain();
  await room;
  expect(hasRoom).toBe(true);
});

test("after the connection has ended there is no room, nothing is written, and no caller waits", async () => {
  const { transport, outbox } = newOutbox();
  outbox.write(chunkOf(900));
  const room = outbox.room(500);
  outbox.end();
  transport.terminate();
  expect(await room).toBe(false);
  expect(await outbox.room(1)).toBe(false);
  expect(outbox.write(chunkOf(9_999))).toBe(true);
  outbox.send({ type: "pong" });
  expect(transport.sent).toEqual([]);
  expect(transport.chunks).toHaveLength(1);
});

/** Full and closed, but its end has not been reported yet: like a socket that was just reset. */
class Dying extends FakeTransport {
  override bufferedBytes = LIMIT;
  override flushed(): Promise<void> {
    return Promise.resolve();
  }
}

test("a caller that waits for room on an ending transport does not hold up the other callers", async () => {
  const outbox = new Outbox(new Dying(), LIMIT, guardParts());
  const room = outbox.room(1);
  setImmediate(() => outbox.end());
  expect(await room).toBe(false);
});

test("a transport that fails while a paused client drains is ended, and the error is counted", async () => {
  class Failing extends FakeTransport {
    override flushed(): Promise<void> {
      return Promise.reject(new Error("a bug"));
    }
  }
  const guard = guardParts();
  const transport = new Failing();
  const outbox = new Outbox(transport, LIMIT, guard);
  outbox.pong(Buffer.alloc(LIMIT + 1));
  await settled();
  expect(transport.calls).toEqual(["pause", "terminate"]);
  const { values } = await guard.metrics.unexpectedErrors.get();
  expect(values).toMatchObject([{ labels: { where: "outbox.flushed" }, value: 1 }]);
});

test("a client has stalled since it last took a byte, however much or little waits for it", () => {
  const { transport, outbox } = newOutbox();
  expect(outbox.stalledForMs(1_000)).toBe(0);
  outbox.write(chunkOf(500));
  expect(outbox.stalledForMs(2_000)).toBe(1_000);
  expect(outbox.stalledForMs(5_000)).toBe(4_000);
  transport.drain(1);
  outbox.write(chunkOf(400)); // more waits now than before
  expect(outbox.stalledForMs(6_000)).toBe(0);
  expect(outbox.stalledForMs(7_500)).toBe(1_500);
  transport.drain();
  expect(outbox.stalledForMs(60_000)).toBe(0);
  outbox.write(chunkOf(10));
  expect(outbox.stalledForMs(61_000)).toBe(1_000);
});

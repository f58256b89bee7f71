import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { JoinedWrites } from "../../../src/gateway/transports/joined-writes.ts";

/** Notes each call that would be one of the system's. */
class Recorder extends Writable {
  readonly calls: string[][] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.calls.push([chunk.toString()]);
    done();
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.calls.push(chunks.map(({ chunk }) => chunk.toString()));
    done();
  }
}

const endOfTurn = () => new Promise(setImmediate);

test("frames written in one turn are sent together at its end, per socket", async () => {
  const writes = new JoinedWrites();
  const [one, other] = [new Recorder(), new Recorder()];
  writes.write(one, Buffer.from("a"));
  writes.write(other, Buffer.from("x"));
  writes.write(one, Buffer.from("b"));
  await null;
  writes.write(one, Buffer.from("c"));
  expect(one.calls).toEqual([]);
  await endOfTurn();
  writes.write(one, Buffer.from("d"));
  await endOfTurn();
  expect(one.calls).toEqual([["a", "b", "c"], ["d"]]);
  expect(other.calls).toEqual([["x"]]);
});

test("a flush sends the held frames at once, and holds later frames again", async () => {
  const writes = new JoinedWrites();
  const one = new Recorder();
  writes.write(one, Buffer.from("a"));
  writes.flush();
  expect(one.calls).toEqual([["a"]]);
  writes.write(one, Buffer.from("b"));
  writes.write(one, Buffer.from("c"));
  expect(one.calls).toEqual([["a"]]);
  await endOfTurn();
  expect(one.calls).toEqual([["a"], ["b", "c"]]);
});

test("64 KiB are held back, and no more", async () => {
  const writes = new JoinedWrites();
  const one = new Recorder();
  const half = Buffer.alloc(32 * 1_024);
  writes.write(one, half);
  writes.write(one, half);
  expect(one.calls).toEqual([]);
  writes.write(one, Buffer.from("a"));
  expect(one.calls).toHaveLength(1);
  writes.write(one, Buffer.from("b"));
  await endOfTurn();
  expect(one.calls.map((call) => call.at(-1))).toEqual(["a", "b"]);
});

test("a socket that was destroyed meanwhile is not an error", async () => {
  const writes = new JoinedWrites();
  const one = new Recorder();
  writes.write(one, Buffer.from("a"));
  one.destroy();
  await endOfTurn();
  expect(one.calls).toEqual([]);
});

import { expect, test } from "vitest";
import type { Commit } from "../../../src/source/change-event.ts";
import { StreamPosition } from "../../../src/source/stream-position.ts";

const TOKEN = new Uint8Array([1]);
const commitAt = (clusterTime: bigint, identity: string): Commit => ({
  events: [],
  clusterTime,
  identity,
  bytes: 100,
  wallTimeMs: null,
});
const batchOf = (through: bigint, ...commits: Commit[]) => ({
  commits,
  through,
  resumeToken: TOKEN,
  invalidated: undefined,
});

/** A position that has accepted commits `a` of time 4, and `b` and `c` of time 5. */
function accepted(): StreamPosition {
  const position = new StreamPosition();
  position.begin(1n);
  position.advance(batchOf(5n, commitAt(4n, "a"), commitAt(5n, "b"), commitAt(5n, "c")));
  return position;
}

const unknownTo = (position: StreamPosition, ...commits: Commit[]) =>
  position.unknown(commits).map(({ identity }) => identity);

test("after a reopening by time, commits that were accepted are known, those of the head's own time too", () => {
  const position = accepted();
  position.openByTime();
  expect(position.next).toEqual({ atTime: 5n });
  const again = [commitAt(4n, "a"), commitAt(5n, "b"), commitAt(5n, "c")];
  expect(unknownTo(position, ...again)).toEqual([]);
  expect(unknownTo(position, ...again, commitAt(5n, "d"), commitAt(6n, "e"))).toEqual(["d", "e"]);
});

test("commits of the head's own time that come in several batches are all known afterwards", () => {
  const position = accepted();
  position.advance(batchOf(5n, commitAt(5n, "d")));
  position.openByTime();
  expect(unknownTo(position, commitAt(5n, "b"), commitAt(5n, "d"))).toEqual([]);
  position.advance(batchOf(5n, commitAt(5n, "e")));
  expect(unknownTo(position, commitAt(5n, "e"), commitAt(5n, "f"))).toEqual(["f"]);
});

test("once the stream has passed the head of the reopening, nothing is looked up any more", () => {
  const position = accepted();
  position.openByTime();
  position.advance(batchOf(6n, commitAt(6n, "e")));
  const commits = [commitAt(6n, "f")];
  expect(position.unknown(commits)).toBe(commits);
});

test("where it resumes after a token, nothing can come again", () => {
  const position = accepted();
  expect(position.next).toEqual({ resumeAfter: TOKEN });
  const commits = [commitAt(5n, "b")];
  expect(position.unknown(commits)).toBe(commits);
});

test("a stream that went back is noticed, and loses nothing", () => {
  const position = accepted();
  expect(position.advance(batchOf(3n))).toBe(false);
  expect(position.through).toBe(5n);
  expect(unknownTo(position, commitAt(4n, "a"), commitAt(5n, "b"), commitAt(5n, "d"))).toEqual(["d"]);
});

test("after an invalidate event it starts after that event", () => {
  const position = accepted();
  const invalidated = new Uint8Array([2]);
  position.advance({ ...batchOf(6n), invalidated });
  expect(position.next).toEqual({ startAfter: invalidated });
});

test("a new order of commits knows of none before it", () => {
  const position = accepted();
  position.begin(9n);
  expect([position.through, position.next]).toEqual([9n, { atTime: 9n }]);
  position.openByTime();
  expect(unknownTo(position, commitAt(9n, "b"))).toEqual(["b"]);
});

test("after collections were added, commits of the position itself do not count, and all later ones do", () => {
  const position = accepted();
  position.widen();
  position.openByTime();
  const again = [commitAt(5n, "b"), commitAt(5n, "of a new collection"), commitAt(6n, "e")];
  expect(unknownTo(position, ...again)).toEqual(["e"]);
  position.advance(batchOf(5n));
  expect(unknownTo(position, ...again)).toEqual(["e"]);
  position.advance(batchOf(6n, commitAt(6n, "e")));
  expect(unknownTo(position, commitAt(6n, "f"))).toEqual(["f"]);
});

test("before anything was read, collections that are added miss nothing", () => {
  const position = new StreamPosition();
  position.begin(5n);
  position.widen();
  expect(unknownTo(position, commitAt(5n, "a"))).toEqual(["a"]);
});

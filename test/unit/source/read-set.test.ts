import { expect, test } from "vitest";
import { ReadSet } from "../../../src/source/read-set.ts";

const ALL = new Set(["db.a", "db.b", "db.c"]);

/** A stream of some of `ALL`, with a list of everything that happened. */
function start(containsAll: boolean) {
  const happened: string[] = [];
  const reads = new ReadSet(ALL, () => happened.push("widened"));
  reads.opening();
  reads.opened(containsAll);
  const change = (...skipped: string[]) =>
    reads.change(ALL, new Set(skipped), () => happened.push(`reads all but ${skipped.join()}`));
  return { reads, happened, change };
}

test("a stream of MongoDB is opened again for other collections, and contains them from then on", () => {
  const { reads, happened, change } = start(false);
  const { version } = reads;
  expect(change("db.a")).toBe(true);
  expect(reads.version).not.toBe(version);
  expect([reads.has("db.a"), happened], "the open stream still contains it").toEqual([true, []]);
  expect([...reads.opening()]).toEqual(["db.b", "db.c"]);
  reads.opened(false);
  expect([reads.has("db.a"), happened]).toEqual([false, ["reads all but db.a"]]);
  change();
  reads.opening();
  reads.opened(false);
  expect([...reads]).toEqual([...ALL]);
  expect(happened.slice(1)).toEqual(["widened", "reads all but "]);
});

test("a stream that contains everything only skips collections, between two batches and never within one", () => {
  const { reads, happened, change } = start(true);
  expect(change("db.a", "db.b")).toBe(false);
  expect([...reads]).toEqual(["db.c"]);
  reads.arrived();
  expect(change("db.b")).toBe(false);
  expect([...reads], "commits without it are on their way").toEqual(["db.c"]);
  reads.accepted();
  expect([...reads]).toEqual(["db.a", "db.c"]);
  expect(happened).toEqual(["reads all but db.a,db.b", "widened", "reads all but db.b"]);
});

test("a change while a stream is being opened is not lost", () => {
  const { reads, happened, change } = start(false);
  change("db.a");
  reads.opening();
  const { version } = reads;
  change();
  expect(reads.version, "the stream that is being opened lacks it").not.toBe(version);
  expect([...reads.opening()]).toEqual([...ALL]);
  reads.opened(false);
  expect(happened).toEqual(["reads all but db.a", "reads all but "]);
});

test("a shared tail that takes the place of a stream of few collections skips the same ones", () => {
  const { reads, change } = start(false);
  change("db.a");
  reads.opening();
  reads.opened(true);
  expect([...reads]).toEqual(["db.b", "db.c"]);
  expect(change()).toBe(false);
  expect([...reads]).toEqual([...ALL]);
});

test("other configured collections need another stream, whatever the open one contains", () => {
  const { reads } = start(true);
  expect(reads.change(new Set([...ALL, "db.d"]))).toBe(true);
  expect(reads.has("db.d")).toBe(false);
  reads.opening();
  reads.opened(true);
  expect(reads.has("db.d")).toBe(true);
});

/** The threads that read texts of rules: two wait for the next texts, because starting one takes longer than reading. */
import { expect, onTestFinished, test } from "vitest";
import { termsOf } from "../../../src/config/rule-set.ts";
import { runThread, ThreadLimit } from "../../../src/config/run-thread.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const terms = termsOf(
  toConfig(testConfig("mongodb://127.0.0.1", "shop", { collections: {}, rules: { from: "database" } })),
);
const PATIENT = { timeoutMs: 120_000, option: "server.admin.planTimeout" };
/** The value of `collections`. */
const TEXT = "items: { rules: [{ name: all }] }";
/** It takes seconds to read, and needs more than 100 MiB. */
const LARGE = `items: [${"[1],".repeat(150_000)}]`;

const read = (text = TEXT, limits = PATIENT) => runThread("readSet", { text, name: "a set", terms }, limits);

/** Counts the threads that start from now on. */
function countThreads(): { readonly started: number } {
  const count = { started: 0 };
  const onWorker = () => {
    count.started++;
  };
  process.on("worker", onWorker);
  onTestFinished(() => void process.off("worker", onWorker));
  return count;
}

test("one text after another is read by one thread; two at the same time have a thread each", async () => {
  await read();
  const threads = countThreads();
  for (let n = 0; n < 3; n++) expect(await read()).toMatchObject({ ok: true });
  expect(threads.started).toBe(0);
  const both = await Promise.all([read(), read("items: []")]);
  expect(both).toMatchObject([{ ok: true }, { ok: false }]);
  expect(threads.started).toBe(1);
  await Promise.all([read(), read()]);
  expect(threads.started).toBe(1);
  await Promise.all([read(), read(), read()]);
  expect(threads.started).toBe(2);
  // Only two of them wait.
  await Promise.all([read(), read(), read()]);
  expect(threads.started).toBe(3);
});

test("a thread that took too long is ended, and another one replaces it", async () => {
  await Promise.all([read(), read()]);
  const threads = countThreads();
  await expect(read(LARGE, { ...PATIENT, timeoutMs: 50 })).rejects.toThrow(ThreadLimit);
  expect(threads.started).toBe(0);
  expect(await Promise.all([read(), read()])).toMatchObject([{ ok: true }, { ok: true }]);
  expect(threads.started).toBe(1);
});

test("a thread whose heap has grown does not wait for another text", async () => {
  await Promise.all([read(), read()]);
  const threads = countThreads();
  await read(LARGE).catch(() => {});
  expect(threads.started).toBe(0);
  expect(await Promise.all([read(), read()])).toMatchObject([{ ok: true }, { ok: true }]);
  expect(threads.started).toBe(1);
});

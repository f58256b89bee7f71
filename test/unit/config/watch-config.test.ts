import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test as base, type TestContext } from "vitest";
import { type Config, loadConfig } from "../../../src/config/config.ts";
import { type ConfigEdits, untilSettled, watchConfig } from "../../../src/config/watch-config.ts";
import { guardParts } from "../../support/guard-parts.ts";

/** An edit whose refusal cannot be reported either. */
class Unreported extends Error {}

const withRule = (name: string) => `
mongodb: { database: shop }
auth: { anonymous: true }
collections: { orders: { rules: [{ name: ${name}, anonymous: true }] } }
`;

/** The tests mostly wait for a file to be noticed, so they do it at the same time. */
const test = base.concurrent;

/** A file that is watched, and what came of its edits. */
async function watched({ expect, onTestFinished }: TestContext, text: string, guard = guardParts()) {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-watch-"));
  const path = join(folder, "t.yaml");
  await writeFile(path, text);
  const outcomes: string[] = [];
  const handlers: ConfigEdits = {
    onEdit: async ({ collections }: Config) => {
      const name = collections["orders"]?.rules[0]?.name;
      if (name === "unfit") throw new Error("not taken");
      if (name === "unreported") throw new Unreported();
      outcomes.push(String(name));
    },
    onRefused: (error) => {
      if (error instanceof Unreported) throw error;
      outcomes.push("refused");
    },
  };
  const edits = watchConfig(path, {}, await loadConfig(path, {}), handlers, guard);
  onTestFinished(async () => {
    edits.stop();
    await rm(folder, { recursive: true });
  });
  const comesTo = (...expected: string[]) => expect.poll(() => outcomes).toEqual(expected);
  return { path, now: edits.now, comesTo };
}

test("an edit is taken by itself, once, and at once where that is asked for", async (context) => {
  const { path, now, comesTo } = await watched(context, withRule("one"));
  await writeFile(path, withRule("two"));
  await comesTo("two");
  await writeFile(path, withRule("three"));
  now();
  now();
  await comesTo("two", "three");
  // The same in other words is no edit: were one of the calls above one, it would stand before this.
  await writeFile(path, `# in force\n${withRule("three")}`);
  now();
  await writeFile(path, withRule("four"));
  now();
  await comesTo("two", "three", "four");
});

test("reports a rejected edit, and the edit that restores the configuration in force", async (context) => {
  const { path, now, comesTo } = await watched(context, withRule("one"));
  await writeFile(path, "collections: [");
  now();
  await comesTo("refused");
  await writeFile(path, withRule("one"));
  now();
  await comesTo("refused", "one");
  await writeFile(path, withRule("unfit"));
  now();
  await comesTo("refused", "one", "refused");
  await writeFile(path, withRule("one"));
  now();
  await comesTo("refused", "one", "refused", "one");
});

test("a file that is being written to is waited for", async (context) => {
  const { path } = await watched(context, withRule("one"));
  let waits = 0;
  await untilSettled(path, async () => {
    waits++;
    if (waits <= 3) await appendFile(path, "#");
  });
  context.expect(waits).toBe(4);
});

test("an edit whose refusal cannot be reported is counted, and the next edit is handled", async (context) => {
  const guard = guardParts();
  const { path, now, comesTo } = await watched(context, withRule("one"), guard);
  await writeFile(path, withRule("unreported"));
  now();
  await context.expect
    .poll(async () => (await guard.metrics.unexpectedErrors.get()).values[0]?.labels["where"])
    .toBe("config.watch");
  await writeFile(path, withRule("two"));
  now();
  await comesTo("two");
});

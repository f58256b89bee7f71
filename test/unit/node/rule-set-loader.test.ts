import { MongoNetworkError } from "mongodb";
import { expect, test } from "vitest";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import type { RuleEdits } from "../../../src/node/rule-edits.ts";
import { RuleSetLoader, type RuleSetLoaderParts } from "../../../src/node/rule-set-loader.ts";
import { recordingLog } from "../../support/node.ts";
import { draftOf } from "../../support/rule-sets.ts";
import { testConfig, toConfig } from "../../support/service.ts";
import { usedBytes } from "../../support/used-bytes.ts";

const COLLECTIONS = { items: { rules: [{ name: "everyone" }] } };

function loader(load: RuleSetLoaderParts["load"], applyTimeout = "1s") {
  const file = testConfig("mongodb://127.0.0.1", "shop", { collections: COLLECTIONS });
  const config = toConfig({ ...file, rules: { applyTimeout } });
  // The loader reads nothing else of the edits, and nothing of MongoDB without a new collection.
  const edits = { config, generation: 4, hasInForce: () => true } as unknown as RuleEdits;
  const { log } = recordingLog();
  return new RuleSetLoader({ client: undefined as never, load, edits, log, metrics: createMetrics() });
}

const saved = (number: number, collections: unknown = COLLECTIONS) => ({
  ...draftOf(collections, number - 1),
  number,
});

test("gives a set up after rules.applyTimeout, and at once when the node stops", async () => {
  const slow = loader(() => new Promise(() => {}));
  const late = slow.obtain(5);
  expect(await late).toEqual({
    set: 5,
    problem: "rule set 5 was not ready within rules.applyTimeout (1000 ms)",
  });
  const stopped = slow.obtain(5);
  slow.stop();
  expect(await stopped).toMatchObject({ set: 5, problem: expect.stringContaining("was not ready") });
});

test("gives a set up after rules.applyTimeout, also if the garbage collector runs meanwhile", async () => {
  const late = loader(() => new Promise(() => {})).obtain(5);
  // An object that was referred to weakly in this turn lives until its end.
  await new Promise((resolve) => setImmediate(resolve));
  usedBytes();
  expect(await late).toMatchObject({ set: 5, problem: expect.stringContaining("was not ready") });
});

test("tries again while MongoDB does not answer", async () => {
  let attempts = 0;
  const load = async (number: number) => {
    if (++attempts < 3) throw new MongoNetworkError("no answer");
    return saved(number);
  };
  const ready = await loader(load, "60s").obtain(5);
  expect(ready).toMatchObject({ set: { number: 5 }, added: [], interrupted: new Set() });
});

test.each([
  [async () => null, /rule set 5 does not exist/],
  [
    async () => saved(5, { items: { rules: [{ name: "a", filtr: {} }] } }),
    /not valid on this node[\s\S]*filtr/,
  ],
  [
    async () => {
      throw new Error("another format");
    },
    /another format/,
  ],
])("reports a set that no further attempt makes possible (%#)", async (load, problem) => {
  expect(await loader(load).obtain(5)).toMatchObject({ set: 5, problem: expect.stringMatching(problem) });
});

test("uses a set that was compiled ahead without reading it again", async () => {
  const made = loader(async () => {
    throw new Error("not to be read");
  });
  made.compileAhead(saved(5));
  expect(await made.obtain(5)).toMatchObject({ set: { number: 5 } });
});

/** Runs of a sink against a real state database, with a target of the test. */
import { createMetrics } from "../../src/metrics/metrics.ts";
import { SinkOptions } from "../../src/sinks/options.ts";
import { SinkLedger } from "../../src/sinks/sink-ledger.ts";
import { SinkRun } from "../../src/sinks/sink-run.ts";
import type { RunEnd, SinkRunParts } from "../../src/sinks/sink-run-parts.ts";
import { SinkStore } from "../../src/sinks/sink-store.ts";
import type { SendResult, SinkMessage, Target } from "../../src/sinks/target.ts";
import { guardParts } from "./guard-parts.ts";
import { testDatabase } from "./mongod.ts";

const OPTIONS = SinkOptions.parse({
  collection: "orders",
  to: {
    webhook: { url: "https://receiver.example/", secret: `whsec_${Buffer.alloc(32, 7).toString("base64")}` },
  },
});

/** A target that takes one message at a time, as a function answers. */
export const targetBy = (send: (message: SinkMessage) => Promise<SendResult>): Target => ({
  batchSize: 1,
  close: async () => {},
  send: (messages) => Promise.all(messages.map(send)),
});

/** The state of a sink `late`, and its runs one after another. */
export async function sinkRuns() {
  const { client, db } = await testDatabase();
  const store = new SinkStore(db, client);
  await store.prepare();
  const ends: RunEnd[] = [];
  const metrics = createMetrics();
  let fence = 0n;
  /** Begins a run as the next holder. */
  const begin = async (
    target: Target,
    change: Partial<SinkOptions> = {},
    bounds: Pick<SinkRunParts, "lanesMax"> = {},
  ): Promise<SinkRun> => {
    const begun = await store.begin("late", ++fence, "a");
    if (begun === null) throw new Error("there is a newer holder");
    const run = new SinkRun(
      {
        ...guardParts(),
        ...bounds,
        name: "late",
        options: { ...OPTIONS, ...change },
        turn: begun.turn,
        store,
        answer: (ask) => ask(),
        target,
        rows: null,
        ledger: new SinkLedger("late", begun.state, metrics),
        isHeld: () => true,
        onEnd: (end) => ends.push(end),
      },
      false,
    );
    await run.start();
    return run;
  };
  const stateOf = async () => (await store.states())[0];
  /** Messages that were too large for the state database. */
  const lost = async () => (await metrics.sinkLost.get()).values[0]?.value ?? 0;
  return { store, begin, stateOf, ends, lost };
}

import type { Processes } from "../questions.ts";
import type { ParkedRow, SinkRow } from "../sink-questions.ts";
import type { Acts } from "./acts.ts";
import { ApiError, type Call } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { mayReadDocuments } from "./session-handlers.ts";
import { timeOf, timeOrNull } from "./times.ts";

type SinkHandlers = Pick<Handlers, "sinks" | "pauseSink" | "resumeSink" | "parkedMessages" | "replayParked">;

const UNCONFIRMED =
  "Look at the sinks (GET /api/v1/sinks) as soon as MongoDB answers, and ask again: that does no harm";

/** The handlers of sinks. */
export function sinkHandlers(processes: Processes, acts: Acts): SinkHandlers {
  const control = async (call: Call, name: string, act: "pause" | "resume") => {
    const entry = { act: `${act}-sink`, target: { sink: name }, ifUnconfirmed: UNCONFIRMED };
    const outcome = await acts.run(call, entry, () => processes.one("controlSink", { name, act }));
    if (outcome === null) throw noSink(name);
    if (outcome === "done") return;
    throw new ApiError(409, "sink-not-started", "no node has started this sink yet: try again in a moment");
  };
  return {
    sinks: async () => ({ sinks: (await processes.one("sinks", undefined)).map(rowOf) }),
    pauseSink: async (call, { name }) => {
      await control(call, name, "pause");
      return { lasts: true, note: "It holds on every node, and over restarts, until the sink is resumed." };
    },
    resumeSink: async (call, { name }) => {
      await control(call, name, "resume");
      return { lasts: true, note: "The node that runs the sink goes on within a second or two." };
    },
    parkedMessages: async (call, { name, limit, after }) => {
      const asked = { name, limit: limit + 1, after, mayReadDocuments: mayReadDocuments(call) };
      const found = await processes.one("parkedMessages", asked);
      if (found === null) throw noSink(name);
      const page = found.slice(0, limit);
      const next = found.length > limit ? (page.at(-1)?.id ?? null) : null;
      return { messages: page.map(parkedOf), next };
    },
    replayParked: async (call, { name, ids }) => {
      const target = { sink: name, messages: ids?.length ?? null };
      const entry = { act: "replay-parked", target, ifUnconfirmed: UNCONFIRMED };
      const messages = await acts.run(call, entry, () => processes.one("replayParked", { name, ids }));
      if (messages === null) throw noSink(name);
      return { messages, note: "They are sent after everything that waits. A refused one is parked again." };
    },
  };
}

const noSink = (name: string) =>
  new ApiError(404, "no-sink", `the configuration has no sink ${name}: GET /api/v1/sinks lists them`);

const rowOf = ({ lastReset, oldestAtMs, ...row }: SinkRow) => ({
  ...row,
  lastReset: lastReset === null ? null : { at: timeOf(lastReset.atMs), reason: lastReset.reason },
  oldestAt: timeOrNull(oldestAtMs),
});

const parkedOf = ({ id, reason, attempts, atMs, parkedAtMs, event }: ParkedRow) => ({
  id,
  reason,
  attempts,
  at: timeOf(atMs),
  parkedAt: timeOf(parkedAtMs),
  event,
});

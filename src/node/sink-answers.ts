import type { Answers } from "../admin/questions.ts";
import type { SinkQuestions, SinkRow } from "../admin/sink-questions.ts";
import type { Config } from "../config/config.ts";
import { SinkStore } from "../sinks/sink-store.ts";
import type { MongoAccess } from "../source/mongo.ts";
import type { SharedState } from "./shared-state.ts";

type Stored = Awaited<ReturnType<SinkStore["states"]>>[number];

/** Answers the questions of admins about sinks. */
export function sinkAnswers(
  { sinks }: Pick<Config, "sinks">,
  { database, answer }: Pick<SharedState, "database" | "answer">,
  client: MongoAccess,
): Pick<Answers, keyof SinkQuestions> {
  const store = new SinkStore(database, client);
  const isSink = (name: string) => Object.hasOwn(sinks, name);
  return {
    sinks: async () => {
      const stored = new Map((await answer(() => store.states())).map((state) => [state.name, state]));
      return Object.entries(sinks).map(([name, { collection, to }]) => {
        const target = Object.entries(to).find(([, options]) => options !== undefined)?.[0] ?? "";
        return { name, collection, target, ...rowOf(stored.get(name)) };
      });
    },
    controlSink: async ({ name, act }) => {
      if (!isSink(name)) return null;
      const control = { isPaused: act === "pause", disabled: null };
      return (await answer(() => store.setControl(name, control))) ? "done" : "starting";
    },
    parkedMessages: async ({ name, limit, after, mayReadDocuments }) => {
      if (!isSink(name)) return null;
      const page = { limit, ...(after === undefined ? {} : { after }) };
      const parked = await answer(() => store.parked(name, page));
      return parked.map(({ message, excerpt, rights: _, ...rest }) => ({
        ...rest,
        reason: mayReadDocuments && excerpt !== "" ? `${rest.reason}: ${excerpt}` : rest.reason,
        id: message.id,
        event: mayReadDocuments ? message.event : null,
      }));
    },
    replayParked: async ({ name, ids }) => (isSink(name) ? answer(() => store.askReplay(name, ids)) : null),
  };
}

function rowOf(stored: Stored | undefined): Omit<SinkRow, "name" | "collection" | "target"> {
  if (stored === undefined)
    return {
      state: "starting",
      node: null,
      trouble: null,
      delivered: 0,
      failed: 0,
      spooledMessages: 0,
      spooledBytes: 0,
      parked: 0,
      resets: 0,
      lastReset: null,
      oldestAtMs: null,
    };
  const { lastReset, oldestAt, disabled } = stored;
  return {
    state: stateOf(stored),
    node: stored.node,
    trouble: disabled?.reason ?? stored.trouble,
    delivered: stored.delivered,
    failed: stored.failed,
    spooledMessages: stored.spooledMessages,
    spooledBytes: stored.spooledBytes,
    parked: stored.parked,
    resets: stored.resets,
    lastReset: lastReset === null ? null : { atMs: lastReset.at.getTime(), reason: lastReset.reason },
    oldestAtMs: oldestAt?.getTime() ?? null,
  };
}

function stateOf({ disabled, isPaused, trouble }: Stored): SinkRow["state"] {
  if (disabled !== null) return "disabled";
  if (isPaused) return "paused";
  return trouble === null ? "running" : "trouble";
}

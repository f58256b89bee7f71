import { setTimeout as sleep } from "node:timers/promises";
import type { Feed } from "../feed/feed.ts";
import type { GatewayContext } from "../gateway/context.ts";
import { type GuardParts, noteFault } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { LeaseStore } from "../source/lease-store.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { PresenceStore } from "../source/presence-store.ts";
import type { StateDatabase } from "../source/state-database.ts";
import { Departures } from "./departures.ts";
import { EntrySaver } from "./entry-saver.ts";
import { EntryWatch } from "./entry-watch.ts";
import { NodeLease } from "./node-lease.ts";
import type { PresenceOptions } from "./options.ts";
import { OtherNodes } from "./other-nodes.ts";
import { PresenceEntries } from "./presence-entries.ts";

/** How often entries are looked at whose connections have ended, in milliseconds. */
const SWEEP_MS = 200;
/** How often the leases of the other nodes are read, in milliseconds. */
const LOOK_MS = 500;

/** The parts that presence works with. */
export interface PresenceStart extends GuardParts {
  readonly options: PresenceOptions;
  /** Unique: no process has it, or had it before. */
  readonly id: string;
  readonly database: StateDatabase;
  /** Runs an operation on the state database, with a timeout. */
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  /** `database.collection` of the entries. */
  readonly namespace: string;
  readonly context: GatewayContext;
  readonly feed: Feed;
  readonly metrics: Metrics;
  /** MongoDB's clock, in epoch milliseconds. */
  readonly serverNowMs: () => number;
}

/** Presence of a node that runs. */
export interface RunningPresence {
  readonly entries: PresenceEntries;
  /** Writes the waiting changes, and ends the lease. Entries stay for the ttl, for clients that reconnect to other nodes. */
  stop(): Promise<void>;
}

/**
 * Starts presence on this node. To be called before the first client.
 * @throws The error of MongoDB.
 */
export async function startPresence(start: PresenceStart): Promise<RunningPresence> {
  const { options, id, database, answer, namespace, feed, metrics, log } = start;
  const store = new PresenceStore(database);
  const leases = new LeaseStore(database);
  await answer(() => store.prepare());
  // The parts ask the entries which of them are here.
  const lease = new NodeLease(id, {
    store: leases,
    answer,
    metrics,
    log,
    entries: () => entries.held.keys(),
  });
  const departures = new Departures({
    leases,
    entries: store,
    answer,
    isHere: (entry) => entries.held.has(entry),
    isClaimerMissing: (names) => others.isClaimerMissing(names),
    onDeleted: (count) => metrics.presenceWrites.inc({ operation: "delete" }, count),
  });
  const saver = new EntrySaver({ store, answer, lease, departures, metrics, log });
  const entries: PresenceEntries = new PresenceEntries(options, { ...start, saver });
  const others: OtherNodes = new OtherNodes(options.ttlMs, {
    leases,
    entries: store,
    answer,
    own: lease,
    departures,
    isHere: (entry) => entries.held.has(entry),
    log,
  });
  const watch = new EntryWatch({ saver, held: entries.held, onLost: (entry) => entries.lost(entry), log });
  feed.followState({ namespace, observe: (event) => watch.observe(event) });
  await lease.start();
  const abort = new AbortController();
  const running = run({ ...start, entries, departures, others }, abort.signal);
  return {
    entries,
    async stop() {
      abort.abort();
      await running;
      await saver.flush();
      await lease.stop();
    },
  };
}

interface Run extends PresenceStart {
  readonly entries: PresenceEntries;
  readonly departures: Departures;
  readonly others: OtherNodes;
}

async function run({ entries, departures, others, ...parts }: Run, signal: AbortSignal): Promise<void> {
  let lookAtMs = 0;
  let hasFailed = false;
  while (!signal.aborted) {
    const nowMs = performance.now();
    let hasMore = false;
    try {
      if (nowMs >= lookAtMs) {
        lookAtMs = nowMs + LOOK_MS;
        await others.look();
      }
      if (hasFailed) entries.restartTtl(performance.now());
      hasFailed = false;
      entries.sweep(performance.now());
      parts.metrics.presenceDepartures.set(departures.size);
      hasMore = await others.work();
    } catch (error) {
      hasFailed = true;
      if (isMongoFailure(error))
        parts.log.debug({ err: error }, "presence could not be looked at; trying again");
      else noteFault(parts, "presence.run", error);
    }
    // A part is random, because all nodes look at the same documents.
    const pauseMs = hasMore ? 0 : SWEEP_MS * (0.75 + Math.random() / 4);
    await sleep(pauseMs, undefined, { signal }).catch(() => {}); // rejects when stopped
  }
}

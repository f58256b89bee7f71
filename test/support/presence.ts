/** Presence on one or several nodes in this process: clients that enter, followers of a room, and the entries themselves. */
import type { Collection, Document, Timestamp } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished } from "vitest";
import { startService } from "../../src/server.ts";
import { startTestService, type TestServiceOptions, toConfig } from "./service.ts";
import type { Received, WsClient } from "./ws-client.ts";

/** For what takes well under a second, except where the machine is busy with something else. */
export const PATIENCE = { timeout: 60_000, interval: 20 };

/** Everybody sees all entries, and may enter any room. */
const OPEN = {
  collections: { presence: { rules: [{ name: "everyone" }] } },
  presence: { ttl: "3s", rules: [{ name: "anyone" }] },
};

export type PresenceTestOptions = Partial<TestServiceOptions>;

/** Starts a service with presence. */
export async function startPresence(options: PresenceTestOptions = {}) {
  const started = await startTestService({
    ...OPEN,
    ...options,
    collections: { ...OPEN.collections, ...options.collections },
    presence: { ...OPEN.presence, ...options.presence },
  });
  const { client, name, file, connect } = started;
  const state = client.db(`${name}-state`);
  const entries: Collection<{ _id: string } & Document> = state.collection("presence");
  return {
    ...started,
    state,
    entries,
    /** Another node of the same fleet. @returns Its service, and its URL for WebSockets. */
    async addNode() {
      const service = await startService(toConfig(file), pino({ level: "silent" }));
      onTestFinished(() => service.stop());
      await expect.poll(() => service.readiness().ready, PATIENCE).toBe(true);
      return { service, url: `ws://127.0.0.1:${service.address.port}/v1/ws` };
    },
    /** A client that has subscribed to the entries of a room. */
    async follow(room: string, claims: Record<string, unknown> = { sub: "follower" }) {
      const follower = await connect(claims);
      await follower.ask({ type: "subscribe", id: "p", collection: "presence", filter: { room } });
      await follower.until((message) => message.type === "snapshot" && message.last);
      return follower;
    },
    /** Counts the writes to the entries from now on, as the oplog has them. */
    async countWrites() {
      const { operationTime } = await client.db("admin").command({ ping: 1 });
      return () =>
        writesSince(client.db("local").collection("oplog.rs"), `${name}-state.presence`, operationTime);
    },
  };
}

export async function writesSince(oplog: Collection, namespace: string, since: Timestamp): Promise<number> {
  const ts = { $gt: since };
  const found = await oplog
    .find({ ts, $or: [{ ns: namespace, op: { $in: ["i", "u", "d"] } }, { "o.applyOps.ns": namespace }] })
    .toArray();
  return found.length;
}

/** Enters a room under the id `e`. */
export const enter = (
  client: WsClient,
  room: string,
  more: Record<string, unknown> = {},
): Promise<Received> => client.ask({ type: "enter", id: "e", room, tab: "tab-1", ...more });

/** The changes that a follower has received, without snapshots. */
export const changesOf = ({ received }: WsClient): Received[] =>
  received.filter(({ type }) => type === "added" || type === "changed" || type === "removed");

/** Waits for a change of this type. */
export async function change(follower: WsClient, type: string, from = 0): Promise<Received> {
  const found = await follower.until((message) => message.type === type, from);
  if (found === undefined) throw new Error(`closed: ${JSON.stringify(follower.closed)}`);
  return found;
}

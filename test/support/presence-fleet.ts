/** Several nodes with presence, as processes that may be killed, and a follower of a room. */
import type { Document, Timestamp } from "mongodb";
import { expect, onTestFinished } from "vitest";
import { testDatabase } from "./mongod.ts";
import { PATIENCE, writesSince } from "./presence.ts";
import { signToken, testConfig } from "./service.ts";
import { type SpawnedService, spawnService } from "./spawn-service.ts";
import { WsClient } from "./ws-client.ts";

/** Starts nodes whose entries outlive their connections for `ttlMs`. */
export async function startFleet(count: number, ttlMs: number) {
  const { client, name, uri } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  const { mongodb, ...file } = testConfig(uri, name, {
    collections: { presence: { rules: [{ name: "everyone" }] } },
    presence: { ttl: `${ttlMs}ms`, rules: [{ name: "anyone" }] },
  });
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  const nodes = await Promise.all(Array.from({ length: count }, () => spawnService({ config })));
  const isReady = async () => {
    const answers = await Promise.all(nodes.map(({ adminUrl }) => fetch(`${adminUrl}/readyz`)));
    return answers.every(({ ok }) => ok);
  };
  await expect.poll(isReady, PATIENCE).toBe(true);
  const state = client.db(`${name}-state`);
  return {
    nodes,
    entries: state.collection<{ _id: string } & Document>("presence"),
    leases: state.collection<{ _id: string } & Document>("leases"),
    now: async (): Promise<Timestamp> => (await client.db("admin").command({ ping: 1 }))["operationTime"],
    /** Everything that was written to the entry of a user, in order, as the oplog has it. */
    async traceOf(user: string) {
      const oplog = client.db("local").collection("oplog.rs");
      const ns = `${name}-state.presence`;
      const id: unknown = (await oplog.findOne({ ns, "o.user": user }))?.["o"]._id;
      return oplog.find({ ns, $or: [{ "o._id": id }, { "o2._id": id }] }).toArray();
    },
    writes: (since: Timestamp) =>
      writesSince(client.db("local").collection("oplog.rs"), `${name}-state.presence`, since),
  };
}

/** Connects a user. @throws The error of the socket, if the node does not run. */
export async function connectTo(node: SpawnedService, sub: string): Promise<WsClient> {
  const url = `${node.url.replace("http", "ws")}/v1/ws`;
  const client = await WsClient.connect(url, { token: await signToken({ sub }) });
  onTestFinished(() => client.socket.terminate());
  return client;
}

/** An entry as a follower sees it. */
export interface Shown {
  readonly user: string;
  readonly data: unknown;
}

/**
 * Follows the room `r1`.
 * @param onLeft Called with the user of an entry that has left.
 * @returns The entries that are seen, and the users that were seen to leave, in order.
 */
export async function follow(node: SpawnedService, onLeft: (user: string) => void = () => {}) {
  const shown = new Map<unknown, Shown>();
  const left: string[] = [];
  const follower = await connectTo(node, "follower");
  follower.onMessage = (message) => {
    const docs = message.type === "snapshot" ? message.docs : "doc" in message ? [message["doc"]] : [];
    // Rules without fields: documents are whole.
    for (const { _id, user, data } of docs as { _id: string; user: string; data: unknown }[])
      shown.set(_id, { user, data });
    if (message.type !== "removed") return;
    const user = shown.get(message._id)?.user ?? "somebody unknown";
    left.push(user);
    shown.delete(message._id);
    onLeft(user);
  };
  await follower.ask({ type: "subscribe", id: "p", collection: "presence", filter: { room: "r1" } });
  return { shown, left };
}

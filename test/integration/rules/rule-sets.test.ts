/** Rules in the database: an edit takes effect at its commit, on every node, and a node that cannot follow says so. */
import { MongoServerError } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { Subscriptions } from "../../../src/gateway/connection/subscriptions.ts";
import { startService } from "../../../src/server.ts";
import { ChangeSource } from "../../../src/source/change-source.ts";
import { RawChangeStream } from "../../../src/source/change-stream.ts";
import { fromTimestamp } from "../../../src/source/cluster-time.ts";
import { RuleTimeStore } from "../../../src/source/rule-time-store.ts";
import { testDatabase, until } from "../../support/mongod.ts";
import { pushRules } from "../../support/rule-sets.ts";
import { signToken, startTestService, testConfig, toConfig } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

const EVERYONE = { items: { rules: [{ name: "everyone" }] } };
const OWN = { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };
const DATABASE = { rules: { from: "database" } };

test("an edit moves the subscriptions at its commit, and the node reports its generation", async () => {
  const { service, client, db, name, connect } = await startTestService({
    collections: EVERYONE,
    ...DATABASE,
  });
  expect(service.readiness()).toMatchObject({ rulesGeneration: 1, rulesBehind: null });
  await db.collection<{ _id: number }>("items").insertMany([
    { _id: 1, owner: "ada" },
    { _id: 2, owner: "ben" },
  ] as never);
  const ada = await connect({ sub: "ada" });
  await ada.ask({ type: "subscribe", id: "all", collection: "items" });
  await ada.until((message) => message["last"] === true);
  expect(await pushRules(client, name, OWN)).toBe(2);
  expect(await ada.until(({ type }) => type === "removed")).toMatchObject({ cause: "grant" });
  await until("generation 2", async () => service.readiness().rulesGeneration === 2 || undefined);
  const nodes = client.db(`${name}-state`).collection("nodes");
  await until(
    "the acknowledgement",
    async () => (await nodes.findOne({ "rules.generation": 2 })) ?? undefined,
  );
});

test("an edit that adds a collection delivers every write to it after the commit", async () => {
  const { client, db, name, connect } = await startTestService({ collections: EVERYONE, ...DATABASE });
  const ada = await connect({ sub: "ada" });
  await pushRules(client, name, { ...EVERYONE, others: { rules: [{ name: "everyone" }] } });
  await db.collection("others").insertOne({ n: 1 });
  await until("the collection", async () => {
    const answer = await ada.ask({ type: "subscribe", id: "o", collection: "others" });
    return answer["type"] === "subscribed" || undefined;
  });
  await db.collection("others").insertOne({ n: 2 });
  const count = async () => {
    const documents = ada.received.flatMap((message) =>
      message.type === "snapshot"
        ? (message["docs"] as unknown[])
        : message.type === "added"
          ? [message]
          : [],
    );
    return documents.length === 2 || undefined;
  };
  await until("both documents", count);
});

test("a set that the node cannot compile leaves the last one in force, and the node is not ready until the next one", async () => {
  const { service, client, name } = await startTestService({ collections: EVERYONE, ...DATABASE });
  await pushRules(client, name, { items: { rules: [{ name: "a", filter: { $where: "1" } }] } });
  await until("not ready", async () => !service.readiness().ready || undefined);
  expect(service.readiness()).toMatchObject({
    status: "rules-behind",
    rulesGeneration: 1,
    lastReload: "rejected",
    rulesBehind: { set: 2, problem: expect.stringContaining("$where") },
  });
  expect(await service.metrics.registry.metrics()).toContain("tidewire_rules_behind 1");
  await pushRules(client, name, OWN);
  await until("ready", async () => service.readiness().ready || undefined);
  expect(service.readiness()).toMatchObject({ status: "ready", rulesGeneration: 3, rulesBehind: null });
});

test("[G5] rules that came into force while the stream position was lost show nothing from before", async () => {
  const { service, client, db, name, connect, now } = await startTestService({
    collections: OWN,
    history: { window: "60s" },
    ...DATABASE,
  });
  onTestFinished(() => void vi.restoreAllMocks());
  const items = db.collection<{ _id: string; owner: string }>("items");
  await items.insertMany([
    { _id: "kept", owner: "ben" },
    { _id: "gone before the edit", owner: "ben" },
  ]);
  const ada = await connect({ sub: "ada" });
  await ada.ask({ type: "subscribe", id: "all", collection: "items" });
  await ada.fence(await now());
  const [frozen, lost] = [deferred(), deferred()];
  const next = RawChangeStream.prototype.next;
  let isLost = false;
  vi.spyOn(RawChangeStream.prototype, "next").mockImplementation(async function (this: RawChangeStream, ms) {
    if (isLost) return next.call(this, ms);
    frozen.resolve();
    await lost.promise;
    isLost = true;
    throw new MongoServerError({ code: 286, codeName: "ChangeStreamHistoryLost", message: "injected" });
  });
  await frozen.promise;
  await items.deleteOne({ _id: "gone before the edit" });
  await pushRules(client, name, EVERYONE);
  const editedAt = fromTimestamp(await now());
  lost.resolve();
  await until("generation 2", async () => service.readiness().rulesGeneration === 2 || undefined);
  await until(
    "the remaining document",
    async () => JSON.stringify(ada.received).includes("kept") || undefined,
  );
  expect(JSON.stringify(ada.received)).not.toContain("gone before");
  const times = new RuleTimeStore(client.db(`${name}-state`));
  const since = await until("the time of the new rule", async () => {
    const { since: saved } = await times.load();
    return saved.size === 1 ? [...saved.values()][0] : undefined;
  });
  expect(since).toBeGreaterThanOrEqual(editedAt);
});

test("[G5] a fault in the middle of an edit ends the connection that it concerns, and all others follow the edit", async () => {
  const { service, client, db, name, connect, now } = await startTestService({
    collections: EVERYONE,
    ...DATABASE,
  });
  onTestFinished(() => void vi.restoreAllMocks());
  const items = db.collection<{ _id: string; owner: string }>("items");
  const [victim, other] = [await connect({ sub: "victim" }), await connect({ sub: "other" })];
  for (const each of [victim, other]) {
    await each.ask({ type: "subscribe", id: "all", collection: "items" });
    await each.fence(await now());
  }
  const iterate = Subscriptions.prototype[Symbol.iterator];
  let faults = 0;
  vi.spyOn(Subscriptions.prototype, Symbol.iterator).mockImplementation(function (this: Subscriptions) {
    if (faults++ === 0) throw new Error("injected");
    return iterate.call(this);
  });
  await pushRules(client, name, OWN);
  await until("generation 2", async () => service.readiness().rulesGeneration === 2 || undefined);
  expect(service.readiness()).toMatchObject({ ready: true, rulesBehind: null });
  await items.insertOne({ _id: "of another", owner: "ben" });
  await items.insertOne({ _id: "own", owner: "other" });
  await other.until(({ type }) => type === "added");
  expect(await victim.untilClosed()).toMatchObject({ code: 1011 });
  for (const each of [victim, other]) expect(JSON.stringify(each.received)).not.toContain("of another");
});

test("[G5] an edit that fails while it takes effect ends every connection, and the node tries it again", async () => {
  const { service, client, db, name, connect } = await startTestService({
    collections: EVERYONE,
    ...DATABASE,
  });
  onTestFinished(() => void vi.restoreAllMocks());
  const ada = await connect({ sub: "ada" });
  await ada.ask({ type: "subscribe", id: "all", collection: "items" });
  vi.spyOn(ChangeSource.prototype, "watch").mockImplementationOnce(() => {
    throw new Error("injected");
  });
  await pushRules(client, name, {
    ...OWN,
    others: { rules: [{ name: "everyone" }] },
  });
  expect(await ada.untilClosed()).toMatchObject({ code: 1011 });
  await db.collection("items").insertOne({ owner: "ben", text: "of-somebody-else" });
  expect(service.readiness()).toMatchObject({
    status: "rules-behind",
    rulesBehind: { set: 2, problem: expect.stringContaining("unexpected error"), since: expect.any(String) },
  });
  await until("ready by itself", async () => service.readiness().ready || undefined);
  expect(service.readiness()).toMatchObject({ rulesGeneration: 2 });
  expect(JSON.stringify(ada.received)).not.toContain("of-somebody-else");
});

test("the public /readyz says since when a node does not follow the rules, and quotes none", async () => {
  const { service, client, name } = await startTestService({ collections: EVERYONE, ...DATABASE });
  await pushRules(client, name, {
    items: { rules: [{ name: "a", filter: { $where: "secret()" } }] },
  });
  await until("not ready", async () => !service.readiness().ready || undefined);
  const read = async (port: number) => (await fetch(`http://127.0.0.1:${port}/readyz`)).json();
  expect(await read(service.address.port)).toEqual({
    ready: false,
    status: "rules-behind",
    node: service.id,
    rulesGeneration: 1,
    lastReload: "rejected",
    rulesBehind: { since: expect.stringMatching(/^\d{4}-.*Z$/) },
  });
  expect(await read(service.adminAddress.port)).toMatchObject({
    rulesBehind: { set: 2, problem: expect.stringContaining("$where"), since: expect.any(String) },
  });
});

/** Another node on the same deployment. */
async function startNode(file: Record<string, unknown>) {
  const service = await startService(toConfig(file), pino({ level: "silent" }));
  onTestFinished(() => service.stop());
  await until("a node that is ready", async () => service.readiness().ready || undefined);
  const url = `ws://127.0.0.1:${service.address.port}/v1/ws`;
  const connect = async (claims: Record<string, unknown>) => {
    const connected = await WsClient.connect(url, { token: await signToken(claims) });
    onTestFinished(() => connected.socket.terminate());
    return connected;
  };
  return { service, connect };
}

/** A collection whose rule is the same as that of `EVERYONE`. */
const OTHER = { other: { rules: [{ name: "everyone" }] } };
const WITH_OTHER = { ...EVERYONE, ...OTHER };

test.each([
  [
    "the rule was withdrawn and granted again meanwhile",
    [OWN, EVERYONE],
    { start: "reset", reason: "rights-changed" },
  ],
  [
    "the rule was withdrawn and granted again, while another collection had the same rule",
    [WITH_OTHER, { ...OWN, ...OTHER }, WITH_OTHER],
    { start: "reset", reason: "rights-changed" },
  ],
  ["another rule was edited", [WITH_OTHER], { start: "resumed" }],
  ["nothing was edited", [], { start: "resumed" }],
])("[G5] a node that starts from before the edits: %s", async (_name, edits, expected) => {
  const { service, file, client, db, name, connect, now } = await startTestService({
    collections: EVERYONE,
    ...DATABASE,
    history: { window: "60s" },
  });
  await db.collection("items").insertOne({ owner: "ben" });
  const ada = await connect({ sub: "ada" });
  const subscribed = await ada.ask({ type: "subscribe", id: "all", collection: "items" });
  await ada.fence(await now());
  await service.stop();
  for (const edit of edits) await pushRules(client, name, edit);
  await db.collection("items").insertOne({ owner: "ben" });
  const node = await startNode(file);
  const again = await node.connect({ sub: "ada" });
  const { cursor, ticket } = subscribed;
  expect(
    await again.ask({ type: "subscribe", id: "all", collection: "items", cursor, ticket }),
  ).toMatchObject(expected);
  expect(node.service.readiness()).toMatchObject({ rulesGeneration: 1 + edits.length });
});

test("[G5] a node that follows the edits notices that a rule was withdrawn, while another collection keeps the same rule", async () => {
  const { service, client, db, name, connect, now } = await startTestService({
    collections: WITH_OTHER,
    ...DATABASE,
    history: { window: "60s" },
  });
  const ada = await connect({ sub: "ada" });
  const { cursor, ticket } = await ada.ask({ type: "subscribe", id: "all", collection: "items" });
  ada.socket.terminate();
  await pushRules(client, name, { ...OWN, ...OTHER });
  await db.collection<{ _id: string; owner: string }>("items").insertOne({ _id: "secret", owner: "ben" });
  await db.collection<{ _id: string }>("items").deleteOne({ _id: "secret" });
  await pushRules(client, name, WITH_OTHER);
  await until("generation 3", async () => service.readiness().rulesGeneration === 3 || undefined);
  const again = await connect({ sub: "ada" });
  expect(
    await again.ask({ type: "subscribe", id: "all", collection: "items", cursor, ticket }),
  ).toMatchObject({ start: "reset", reason: "rights-changed" });
  await again.fence(await now());
  expect(JSON.stringify(again.received)).not.toContain("secret");
});

test("does not start without a set in force, or with one that it cannot compile", async () => {
  const { client, name, uri } = await testDatabase();
  onTestFinished(() =>
    client
      .db(`${name}-state`)
      .dropDatabase()
      .then(() => {}),
  );
  const file = testConfig(uri, name, { collections: {}, ...DATABASE });
  const start = () => startService(toConfig(file), pino({ level: "silent" }));
  await expect(start()).rejects.toThrow(
    /no rule set is in force in database .*: put one in force with tidewire rules push/,
  );
  await pushRules(client, name, { items: { rules: [{ name: "a", filter: { $where: "1" } }] } });
  await expect(start()).rejects.toThrow(
    /rule set 1 is not valid on this node\n- rule set 1:\d+:\d+: collections\.items.*\$where/,
  );
});

test("an edit of the file changes no rules, and one of rules.from needs a restart", async () => {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const { service, file } = await startTestService({
    collections: EVERYONE,
    ...DATABASE,
    onLogLine: (line) => lines.push(line),
  });
  await service.reload(toConfig({ ...file, limits: { filterDepth: 7 } }));
  expect(service.readiness()).toMatchObject({ rulesGeneration: 1, lastReload: "none" });
  expect(lines).toContainEqual(expect.objectContaining({ sections: ["limits"] }));
  await expect(service.reload(toConfig({ ...file, rules: {}, collections: EVERYONE }))).rejects.toThrow(
    /rules\.from was database, and is file now: restart/,
  );
});

test("an edit that arrives while the set in force is gone, and a set that only becomes possible later, are applied", async () => {
  const { service, client, db, name } = await startTestService({ collections: EVERYONE, ...DATABASE });
  const sets = client.db(`${name}-state`).collection<{ _id: string }>("ruleSets");
  await sets.deleteOne({ _id: "inForce" });
  await until("not ready", async () => !service.readiness().ready || undefined);
  expect(service.readiness().rulesBehind).toMatchObject({
    problem: expect.stringContaining("no rule set is in force any more"),
  });
  await db.createCollection("view", { viewOn: "items", pipeline: [] });
  await sets.insertOne({ _id: "inForce", set: 1, parent: 0 } as never);
  await until("ready", async () => service.readiness().ready || undefined);
  await pushRules(client, name, { view: { rules: [] } });
  await until("not ready", async () => !service.readiness().ready || undefined);
  expect(service.readiness().rulesBehind).toMatchObject({
    set: 2,
    problem: expect.stringContaining("is a view"),
  });
  await db.collection("view").drop();
  await until("ready by itself", async () => service.readiness().ready || undefined);
  expect(service.readiness()).toMatchObject({ rulesGeneration: 2 });
});

test("a set of thousands of rules, which is read in a thread, takes effect", async () => {
  const { service, client, name } = await startTestService({ collections: EVERYONE, ...DATABASE });
  const rules = Array.from({ length: 3_000 }, (_, n) => ({
    name: `rule-${n}`,
    when: { "%%user.team": n },
    filter: { n },
  }));
  const large = { items: { rules: [...rules, { name: "everyone" }] } };
  await pushRules(client, name, large);
  await until("generation 2", async () => service.readiness().rulesGeneration === 2 || undefined);
});

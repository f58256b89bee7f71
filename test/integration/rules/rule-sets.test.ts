/** Rules in the database: an edit takes effect at its commit, on every node, and a node that cannot follow says so. */
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
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

const WITH_OTHER = { ...EVERYONE, other: { rules: [{ name: "everyone" }] } };

test.each([
  [
    "the rule was withdrawn and granted again meanwhile",
    [OWN, EVERYONE],
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

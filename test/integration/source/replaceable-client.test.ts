/** MongoDB clients that the driver has given up, and operations that it leaves pending: neither may last. */
import { MongoClient, MongoTopologyClosedError } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { answerOf, isMongoFailure } from "../../../src/source/mongo.ts";
import { clientOptions, ReplaceableClient } from "../../../src/source/replaceable-client.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { startReplicaSet, until } from "../../support/mongod.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

/** Short, as each test waits for some of them. */
const OPTIONS = { ...clientOptions(500), serverSelectionTimeoutMS: 1_000 };

async function startSet() {
  const set = await startReplicaSet({ members: 1 });
  onTestFinished(() => set.stop());
  const [member] = set.members;
  if (member === undefined) throw new Error("a set without a member");
  return { set, member };
}

function replaceable(uri: string): ReplaceableClient & { readonly reasons: string[] } {
  const reasons: string[] = [];
  const client = new ReplaceableClient(uri, OPTIONS, guardParts(), (reason) => void reasons.push(reason));
  onTestFinished(() => client.close());
  return Object.assign(client, { reasons });
}

const ping = (client: ReplaceableClient) => answerOf(client, (at) => at.db("admin").command({ ping: 1 }));
const untilItAnswers = (client: ReplaceableClient) =>
  until("an answer", () =>
    ping(client).then(
      () => true,
      () => undefined,
    ),
  );

test("a client whose first connect failed works when MongoDB is there: the driver's own never does", async () => {
  const { set, member } = await startSet();
  await member.kill("SIGSTOP");
  const plain = new MongoClient(set.uri, OPTIONS);
  onTestFinished(() => plain.close());
  const client = replaceable(set.uri);
  await expect(plain.db("admin").command({ ping: 1 })).rejects.toThrow();
  await expect(ping(client)).rejects.toThrow();
  await member.kill("SIGCONT");
  await untilItAnswers(client);
  await expect(plain.db("admin").command({ ping: 1 })).rejects.toThrow(MongoTopologyClosedError);
  expect(client.reasons.length).toBeGreaterThan(0);
});

test("a client that has lost its only server to a restart outside the set gets it back", async () => {
  const { set, member } = await startSet();
  const client = replaceable(set.uri);
  await ping(client);
  await member.kill("SIGKILL");
  await member.start({ alone: true });
  await until("a client without a server", async () => client.reasons.some((text) => /no server/.test(text)));
  await member.kill("SIGTERM");
  await member.start();
  await untilItAnswers(client);
});

test("a client that took a member for a standalone server is replaced once that is a member again", async () => {
  const { member } = await startSet();
  await member.kill("SIGKILL");
  await member.start({ alone: true });
  const client = replaceable(`mongodb://${member.host}/`);
  await ping(client);
  await member.kill("SIGTERM");
  await member.start();
  await until("a replacement", async () => client.reasons.some((text) => /standalone/.test(text)));
  await untilItAnswers(client);
});

test("an operation that the driver leaves pending fails soon after its server is given up", async () => {
  const { set, member } = await startSet();
  const client = replaceable(set.uri);
  await ping(client);
  const pending = answerOf(client, () => new Promise<never>(() => {}));
  const failed = pending.catch((error: unknown) => error);
  await member.kill("SIGKILL");
  expect(isMongoFailure(await failed)).toBe(true);
});

test("a long read is not failed by anything but its own server", async () => {
  const { set } = await startSet();
  const client = replaceable(set.uri);
  await client.db("shop").collection("things").insertOne({ n: 1 });
  const slow = { $where: "sleep(3000) || true" };
  const things = (at: MongoClient) => at.db("shop").collection("things");
  expect(await answerOf(client, (at) => things(at).find(slow).toArray())).toHaveLength(1);
  expect(client.reasons).toEqual([]);
});

test("an operation that gets no answer fails at its time limit", async () => {
  const { set, member } = await startSet();
  const proxy = await TcpProxy.start(member.port);
  const client = replaceable(`mongodb://127.0.0.1:${proxy.port}/?directConnection=true`);
  await ping(client);
  proxy.freeze();
  const lost = answerOf(client, (at) => at.db("admin").command({ ping: 1 }), { timeoutMs: 50 });
  await expect(lost).rejects.toThrow("no answer within 50 ms");
  await proxy.resume();
  await until("an answer", () => ping(client).catch(() => undefined));
  expect(set.members).toHaveLength(1);
});

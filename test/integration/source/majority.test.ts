/** A replica set that has lost its majority, with and without a primary: the start waits in the open, and nothing hangs. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { startService } from "../../../src/server.ts";
import { EpochStore } from "../../../src/source/epoch-store.ts";
import { LostRightStore } from "../../../src/source/lost-right-store.ts";
import { lacksMajority, MAJORITY_TIMEOUT_MS } from "../../../src/source/majority.ts";
import { RevocationStore } from "../../../src/source/revocation-store.ts";
import { RuleTimeStore } from "../../../src/source/rule-time-store.ts";
import { SealingKeyStore } from "../../../src/source/sealing-keys.ts";
import { UrlKeyStore } from "../../../src/source/url-key-store.ts";
import { ROOT } from "../../support/build.ts";
import { endWithUs, exited } from "../../support/guard.ts";
import { freePort, type Mongod, type ReplicaSet, startReplicaSet, until } from "../../support/mongod.ts";
import { signToken, testConfig, toConfig } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

const COLLECTIONS = { things: { rules: [{ name: "all" }] } };
const SILENT = pino({ level: "silent" });

/** A set; with `primaryStays`, a primary that loses its majority goes on as the primary for ten minutes. */
async function startSet(primaryStays: boolean): Promise<{ set: ReplicaSet; others: Mongod[] }> {
  const set = await startReplicaSet();
  onTestFinished(() => set.stop());
  if (primaryStays) {
    const client = await new MongoClient(set.uri).connect();
    const admin = client.db("admin");
    const { config } = await admin.command({ replSetGetConfig: 1 });
    config.version++;
    config.settings.electionTimeoutMillis = 600_000;
    await admin.command({ replSetReconfig: config });
    await client.close();
  }
  return { set, others: await set.secondaries() };
}

async function configFor(set: ReplicaSet, server: Record<string, unknown> = {}) {
  const [port, adminPort] = [await freePort(), await freePort()];
  const file = testConfig(set.uri, "shop", {
    collections: COLLECTIONS,
    mongodb: { startTimeout: "1s" },
    server: { port, admin: { port: adminPort }, ...server },
  });
  return { file, url: `http://127.0.0.1:${port}`, adminUrl: `http://127.0.0.1:${adminPort}` };
}

const get = async (url: string) => {
  const response = await fetch(url).catch(() => undefined);
  return response === undefined
    ? undefined
    : { status: response.status, body: (await response.json()) as { status?: string } };
};

/** Waits for the answer of a node that waits. */
const whileWaiting = (url: string, status: string) =>
  until(`${status} at ${url}`, async () => {
    const answer = await get(`${url}/readyz`);
    return answer?.body.status === status ? answer : undefined;
  });

const untilReady = (url: string) =>
  until("a ready node", async () => (await get(`${url}/readyz`))?.status === 200);

test.each([
  {
    how: "SIGKILL",
    back: "start",
    status: "no-primary",
    words: /no primary.*rs\.status/,
    primaryStays: false,
  },
  {
    how: "SIGSTOP",
    back: "SIGCONT",
    status: "no-majority",
    words: /no majority.*rs\.status/,
    primaryStays: true,
  },
] as const)(
  "a node that starts on a set without a majority ($how) listens, says $status, and starts when it is back",
  async ({ how, back, status, words, primaryStays }) => {
    const { set, others } = await startSet(primaryStays);
    for (const member of others) await member.kill(how);
    const { file, url, adminUrl } = await configFor(set);
    const lines: string[] = [];
    const log = pino({ level: "info" }, { write: (line) => void lines.push(line) });
    const started = startService(toConfig(file), log);
    started.catch(() => {});
    onTestFinished(async () => (await started).stop());

    for (const at of [url, adminUrl]) {
      const answer = await whileWaiting(at, status);
      expect(answer).toMatchObject({
        status: 503,
        body: { ready: false, reason: expect.stringMatching(words) },
      });
      expect(await get(`${at}/livez`)).toMatchObject({ status: 200 });
      expect(await get(`${at}/v1/key`)).toMatchObject({ status: 503 });
    }
    await expect(WsClient.connect(`${url.replace("http", "ws")}/v1/ws`)).rejects.toThrow(/503/);
    expect(lines.join("")).toMatch(words);

    for (const member of others) await (back === "start" ? member.start() : member.kill(back));
    await untilReady(url);
    const client = await WsClient.connect(`${url.replace("http", "ws")}/v1/ws`, {
      token: await signToken({ sub: "u" }),
    });
    onTestFinished(() => client.socket.terminate());
    expect(await client.ask({ type: "subscribe", id: "a", collection: "things" })).toMatchObject({
      type: "subscribed",
    });
  },
);

test("a node with several workers waits in the same way, on the ports that it serves later", async () => {
  const { set, others } = await startSet(true);
  for (const member of others) await member.kill("SIGSTOP");
  const { file, url, adminUrl } = await configFor(set, { workers: 2 });
  const directory = await mkdtemp(join(tmpdir(), "tidewire-majority-"));
  const path = join(directory, "tidewire.json");
  await writeFile(path, JSON.stringify(file));
  const main = join(ROOT, "dist", "cli", "main.js");
  const child = spawn(process.execPath, [main, "start", "--config", path], { cwd: ROOT, stdio: "ignore" });
  endWithUs(child, directory);
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited(child);
    await rm(directory, { recursive: true, force: true });
  });
  for (const at of [url, adminUrl]) await whileWaiting(at, "no-majority");
  for (const member of others) await member.kill("SIGCONT");
  await untilReady(url);
});

test("every majority read and write of the service's own state ends in time without a majority, and says so", async () => {
  const { set, others } = await startSet(true);
  const client = await new MongoClient(set.uri).connect();
  onTestFinished(() => client.close());
  const db = client.db("state");
  await db.createCollection("epochs");
  const newKey = (id: string) => ({ id, user: "u", sealed: "" });
  await new UrlKeyStore(db).add(newKey("first"), Date.now(), Date.now() + 60_000, 10);
  for (const member of others) await member.kill("SIGSTOP");
  onTestFinished(async () => {
    for (const member of others) await member.kill("SIGCONT");
  });
  const soon = new Date(Date.now() + 60_000);
  const revocation = { sub: "u", iss: null, jti: "j", issuedBeforeMs: null, expiresAtMs: soon.getTime() };
  const keys = new SealingKeyStore(db);
  const epochs = new EpochStore(db);
  const revocations = new RevocationStore(db);
  const work: Record<string, () => Promise<unknown>> = {
    "save a key": () => new UrlKeyStore(db).add(newKey("second"), Date.now(), soon.getTime(), 10),
    "use a key": () => new UrlKeyStore(db).spend("first", Date.now(), soon.getTime()),
    "save the times of rules": () => new RuleTimeStore(db).save(new Map([["rule", 1n]]), null),
    "save a lost right": () => new LostRightStore(db).save(new Map([["id", "mark"]]), soon),
    "create the sealing keys": () => keys.load(),
    "read sealing keys that only the primary has": () => keys.load(),
    "begin an epoch": () => epochs.current("d"),
    "read an epoch that only the primary has": () => epochs.current("d"),
    "confirm the time": () => epochs.confirmedTime(),
    revoke: () => revocations.revoke(revocation),
    "clean up revocations": () => revocations.cleanUp(Date.now()),
  };
  const failures = await Promise.all(
    Object.entries(work).map(async ([name, run]) => {
      const beganMs = Date.now();
      const error = await run().then(
        () => undefined,
        (cause: unknown) => cause,
      );
      return { name, ended: lacksMajority(error) ? "no majority" : error, ms: Date.now() - beganMs };
    }),
  );
  for (const { name, ended, ms } of failures) {
    expect(ended, name).toBe("no majority");
    expect(ms, name).toBeLessThan(6 * MAJORITY_TIMEOUT_MS);
  }
});

test("without a majority a key for EventSource is neither issued nor taken, in time and with a reason, and afterwards it is", async () => {
  const { set, others } = await startSet(true);
  const { file, url } = await configFor(set);
  const service = await startService(toConfig(file), SILENT);
  onTestFinished(() => service.stop());
  await untilReady(url);
  const headers = { Authorization: `Bearer ${await signToken({ sub: "u" })}` };
  const issue = async () => {
    const response = await fetch(`${url}/v1/key`, { method: "POST", headers });
    return { status: response.status, body: (await response.json()) as { key: string; message: string } };
  };
  const open = async (key: string) => {
    const signal = AbortSignal.timeout(30_000);
    const response = await fetch(`${url}/v1/sse?key=${key}&collection=things`, { signal });
    await response.body?.cancel();
    return response.status;
  };
  const { body } = await issue();
  for (const member of others) await member.kill("SIGSTOP");
  expect(await issue()).toMatchObject({
    status: 503,
    body: { code: "unavailable", message: expect.stringContaining("MongoDB") },
  });
  expect(await open(body.key)).toBe(503);
  for (const member of others) await member.kill("SIGCONT");
  await until("a stream", async () => (await open((await issue()).body.key)) === 200);
});

test("a running node whose set loses its majority is not ready and says why, and is ready again when it is back", async () => {
  const { set, others } = await startSet(true);
  const { file, url } = await configFor(set);
  const service = await startService(toConfig(file), SILENT);
  onTestFinished(() => service.stop());
  await untilReady(url);
  for (const member of others) await member.kill("SIGSTOP");
  await whileWaiting(url, "no-majority");
  for (const member of others) await member.kill("SIGCONT");
  await untilReady(url);
});

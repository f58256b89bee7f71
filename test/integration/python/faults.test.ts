/** Programs with the client for Python, while the service is killed and the network cut: against the server's own `find`. */
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Db } from "mongodb";
import { beforeAll, expect, onTestFinished, type TestContext, test } from "vitest";
import { skipWithout } from "../../support/installed.ts";
import { testDatabase } from "../../support/mongod.ts";
import { pythonWith } from "../../support/python.ts";
import {
  followThings,
  foundThings,
  judge,
  type Line,
  linesOf,
  PATIENCE,
  seededRandom,
  untilShown,
} from "../../support/python-program.ts";
import { startTestService, testConfig } from "../../support/service.ts";
import { type ServiceConfig, spawnService } from "../../support/spawn-service.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { VersionedWriter } from "../../support/versioned-writer.ts";

const COLLECTIONS = { things: { rules: [{ name: "all", when: { "%%user.sub": { $exists: true } } }] } };

let python: Awaited<ReturnType<typeof pythonWith>>;
beforeAll(async () => {
  python = await pythonWith("websockets>=15");
});
const pythonOrSkip = (skip: TestContext["skip"]): string =>
  "python" in python ? python.python : skipWithout(skip, python.missing);

/** A service that need not reset its clients, however slow they are. */
const startFollowed = () => startTestService({ collections: COLLECTIONS, history: { window: "5m" } });

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-python-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function startSpawned() {
  const { client, db, name, uri } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  const file = testConfig(uri, name, {
    collections: COLLECTIONS,
    server: { heartbeat: "1s" },
    // Without a history, a slow machine resets the clients: they miss more than they can catch up with.
    history: { window: "5m" },
  });
  const config = { ...file, log: { level: "info" } } as unknown as ServiceConfig; // the parts that tests look at
  const service = await spawnService({ config });
  await expect.poll(async () => (await fetch(`${service.adminUrl}/readyz`)).ok, PATIENCE).toBe(true);
  return { client, db, service };
}

test("[G2] [G3] the service is killed and the network cut: the program loses nothing and receives nothing twice", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const random = seededRandom();
  const { client, db, service } = await startSpawned();
  const proxy = await TcpProxy.start(service.listening.port);
  const url = `http://127.0.0.1:${proxy.port}`;
  const program = await followThings(command, { url, connect: { silence: 1.5 } });
  await expect.poll(() => [program.ofType("snapshot").length, program.errors], PATIENCE).toEqual([1, []]);
  const writer = new VersionedWriter(client, db, "things", "w", random);
  writer.start();
  const welcomes = () => program.ofType("subscribed").length;
  /** A fault, until the program has subscribed again. */
  const through = async (fault: () => unknown) => {
    const before = welcomes();
    await fault();
    await expect.poll(welcomes, PATIENCE).toBeGreaterThan(before);
  };
  await through(() => service.restart("SIGKILL"));
  for (let count = 0; count < 3; count++) {
    await through(async () => {
      proxy.cut();
      await proxy.resume();
    });
  }
  await through(async () => {
    const connections = welcomes();
    proxy.swallow(); // the connection stays, and is silent
    await proxy.resume();
    await expect.poll(welcomes, PATIENCE).toBeGreaterThan(connections);
  });
  await through(() => service.restart("SIGTERM"));
  await expect.poll(() => judge(linesOf(program), true).changes, PATIENCE).toBeGreaterThan(100);
  await writer.stop();
  await untilShown(program, await foundThings(db));
  expect(judge(linesOf(program), true).wrong).toEqual([]);
  expect(program.ofType("snapshot")).toHaveLength(1);
  expect(new Set(program.ofType("subscribed").map(({ start }) => start))).toEqual(
    new Set(["snapshot", "resumed"]),
  );
});

test("a program that is interrupted and started again continues from its store, and repeats nothing", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const { client, db, service } = await startFollowed();
  const url = `http://127.0.0.1:${service.address.port}`;
  const writer = new VersionedWriter(client, db, "things", "w", seededRandom());
  const store = join(await emptyFolder(), "state");
  writer.start();
  const lines: Line[] = [];
  for (let count = 0; count < 3; count++) {
    const program = await followThings(command, { url, store });
    const added = () => [judge(linesOf(program), true).changes > 30, program.errors];
    await expect.poll(added, PATIENCE).toEqual([true, []]);
    program.signal("SIGINT");
    await expect.poll(() => program.code, PATIENCE).toBe(0);
    lines.push(...linesOf(program));
  }
  await writer.stop();
  const program = await followThings(command, { url, store });
  const expected = await foundThings(db);
  const all = () => judge([...lines, ...linesOf(program)], true);
  await expect.poll(() => all().held, PATIENCE).toEqual(expected);
  const starts = [...lines, ...program.lines].filter(({ type }) => type === "subscribed");
  expect(starts.map((line) => (line as { start?: string }).start)).toEqual([
    "snapshot",
    "resumed",
    "resumed",
    "resumed",
  ]);
  expect(all().wrong).toEqual([]);
});

test("a program that is killed and started again processes every change at least once", async ({ skip }) => {
  const command = pythonOrSkip(skip);
  const { client, db, service } = await startFollowed();
  const url = `http://127.0.0.1:${service.address.port}`;
  const writer = new VersionedWriter(client, db, "things", "w", seededRandom());
  const store = join(await emptyFolder(), "state");
  const options = {
    url,
    store,
    queries: [{ snapshot: false }],
    connect: { store_interval: 0.05 },
  };
  const lines: Line[] = [];
  let program = await followThings(command, options);
  await expect.poll(() => [program.ofType("subscribed").length, program.errors], PATIENCE).toEqual([1, []]);
  writer.start();
  for (let count = 0; count < 3; count++) {
    // Without a stored position the next program would begin at its present.
    const isStored = () => existsSync(store) && readdirSync(store).some((name) => name.endsWith(".json"));
    const stored = () => judge(linesOf(program), true).changes > 60 && isStored();
    await expect.poll(stored, PATIENCE).toBe(true);
    await program.stop(); // SIGKILL
    lines.push(...linesOf(program));
    program = await followThings(command, options);
  }
  await writer.stop();
  const expected = await foundThings(db);
  const last = () => {
    const versions = new Map<string | number, number>();
    for (const { doc } of [...lines, ...linesOf(program)]) {
      if (doc === undefined) continue;
      // At least once: a version may come again, and none may be missing.
      const before = versions.get(doc._id) ?? 0;
      if (doc.v > before + 1) throw new Error(`${doc._id}: ${doc.v} after ${before}`);
      versions.set(doc._id, Math.max(before, doc.v));
    }
    return [...expected].filter(([_id, v]) => versions.get(_id) !== v);
  };
  await expect.poll(last, PATIENCE).toEqual([]);
  await expect
    .poll(() => program.ofType("subscribed").map(({ start }) => start), PATIENCE)
    .toEqual(["resumed"]);
});

/** Updates of large documents, more than any queue or socket holds. */
async function writeMuch(db: Db, updates: number): Promise<void> {
  const things = db.collection<{ _id: string; v: number; pad: string }>("things");
  const pad = "x".repeat(20_000);
  for (let done = 0; done < updates; done += 100) {
    await things.bulkWrite(
      Array.from({ length: 100 }, (_, at) => ({
        updateOne: {
          filter: { _id: `t${at % 20}` },
          update: { $inc: { v: 1 }, $set: { pad } },
          upsert: true,
        },
      })),
    );
  }
}

test.each([false, true])(
  "a program that stops reading keeps little in memory, and continues with the result (blocked: %s)",
  async (blocks) => {
    if ("missing" in python) return; // the tests above say so
    const { db, service } = await startFollowed();
    const url = `http://127.0.0.1:${service.address.port}`;
    const until = join(await emptyFolder(), "until");
    await writeMuch(db, 100);
    const program = await followThings(python.python, {
      url,
      holdAt: 1,
      until,
      blocks,
      connect: { queue_limit: 50 },
    });
    await expect.poll(() => [program.ofType("holding").length, program.errors], PATIENCE).toEqual([1, []]);
    await writeMuch(db, 4_000); // 80 MB
    if (!blocks) await expect.poll(() => program.ofType("full").length, PATIENCE).toBe(1);
    await writeFile(until, "");
    await expect
      .poll(() => [Object.fromEntries(judge(linesOf(program), true).held), program.errors], PATIENCE)
      .toEqual([Object.fromEntries(await foundThings(db)), []]);
    const [holding] = program.ofType("holding") as { rss: number }[];
    const [continuing] = program.ofType("continuing") as {
      rss: number;
      waiting: number;
      documents: number;
    }[];
    expect(continuing?.documents).toBe(20);
    expect(continuing?.waiting).toBeLessThanOrEqual(50);
    expect(continuing!.rss - holding!.rss).toBeLessThan(40_000); // kB
    expect(program.ofType("complaint")).toEqual([]);
    if (!blocks) expect(program.ofType("snapshot").map(({ reason }) => reason)).toContain("lagged");
  },
);

test("a slow loop without a snapshot pauses its query, keeps little in memory, and receives every change once", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const { db, service } = await startFollowed();
  const until = join(await emptyFolder(), "until");
  const program = await followThings(command, {
    url: `http://127.0.0.1:${service.address.port}`,
    holdAt: 1,
    until,
    queries: [{ snapshot: false }],
    connect: { queue_limit: 50 },
  });
  await expect.poll(() => [program.ofType("subscribed").length, program.errors], PATIENCE).toEqual([1, []]);
  await writeMuch(db, 100);
  await expect.poll(() => program.ofType("holding").length, PATIENCE).toBe(1);
  await writeMuch(db, 1_000);
  await expect.poll(() => program.ofType("full").length, PATIENCE).toBe(1);
  await writeFile(until, "");
  await untilShown(program, await foundThings(db));
  const { wrong, changes } = judge(linesOf(program), true);
  expect([wrong, changes]).toEqual([[], 1_100]);
  const [{ waiting }] = program.ofType("continuing") as [{ waiting: number }];
  expect(waiting).toBeLessThanOrEqual(50);
  expect(program.ofType("subscribed").length).toBeGreaterThan(1);
});

test("tokens are renewed on the open connection: no connection ends, and no change is lost", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const { client, db, service } = await startFollowed();
  const program = await followThings(command, {
    url: `http://127.0.0.1:${service.address.port}`,
    tokenSeconds: 20,
  });
  await expect.poll(() => [program.ofType("snapshot").length, program.errors], PATIENCE).toEqual([1, []]);
  const writer = new VersionedWriter(client, db, "things", "w", seededRandom());
  writer.start();
  await expect.poll(() => program.ofType("token").length, PATIENCE).toBeGreaterThan(2);
  await writer.stop();
  await untilShown(program, await foundThings(db));
  expect(judge(linesOf(program), true).wrong).toEqual([]);
  expect(program.ofType("welcome")).toHaveLength(1);
});

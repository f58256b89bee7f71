/** Programs with the client for Python, while the service is killed and the network cut: against the server's own `find`. */
import { randomInt } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Db } from "mongodb";
import { beforeAll, expect, onTestFinished, type TestContext, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { skipWithout } from "../../support/installed.ts";
import { testDatabase } from "../../support/mongod.ts";
import { Program } from "../../support/program.ts";
import { pythonEnv, pythonWith } from "../../support/python.ts";
import { Random } from "../../support/random.ts";
import { SECRET, signToken, startTestService, testConfig } from "../../support/service.ts";
import { type ServiceConfig, spawnService } from "../../support/spawn-service.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { VersionedWriter } from "../../support/versioned-writer.ts";

const PATIENCE = { timeout: 120_000 };
const COLLECTIONS = { things: { rules: [{ name: "all", when: { "%%user.sub": { $exists: true } } }] } };

let python: Awaited<ReturnType<typeof pythonWith>>;
beforeAll(async () => {
  python = await pythonWith("websockets>=15");
});
const pythonOrSkip = (skip: TestContext["skip"]): string =>
  "python" in python ? python.python : skipWithout(skip, python.missing);

interface Line {
  readonly type: string;
  readonly doc?: { readonly _id: string; readonly v: number };
  readonly docs?: readonly { readonly _id: string; readonly v: number }[];
  readonly _id?: string;
}

/** Starts a program that follows `things`. */
async function follow(command: string, options: object): Promise<Program> {
  const script = join(ROOT, "test", "support", "python-follow.py");
  return new Program(command, [script, JSON.stringify({ collection: "things", ...options })], {
    ...pythonEnv(),
    TIDEWIRE_TOKEN: await signToken({ sub: "u1" }),
    TIDEWIRE_JWT_SECRET: SECRET,
  });
}

/** Every write adds one to the `v` of its document, so a missed or a repeated change shows. */
function judge(lines: readonly Line[]) {
  const held = new Map<string, number>();
  const wrong: string[] = [];
  let changes = 0;
  for (const { type, doc, docs, _id } of lines) {
    if (type === "snapshot") held.clear();
    for (const one of docs ?? []) held.set(one._id, one.v);
    if (type === "removed") held.delete(String(_id));
    if (type === "complaint") wrong.push(JSON.stringify(lines.find((line) => line.type === "complaint")));
    if (doc === undefined) continue;
    changes++;
    const before = held.get(doc._id) ?? 0;
    if (doc.v !== before + 1) wrong.push(`${doc._id}: ${doc.v} after ${before}`);
    held.set(doc._id, doc.v);
  }
  return { held, wrong, changes };
}

const found = async (db: Db) => {
  const things = await db.collection<{ _id: string; v: number }>("things").find().toArray();
  return new Map(things.map(({ _id, v }) => [_id, v]));
};
const linesOf = (program: Program) => program.lines as unknown as Line[]; // the program prints them so

/** Waits until the program shows what `find` gives. */
async function untilAsFound(db: Db, program: Program): Promise<void> {
  const expected = await found(db);
  await expect
    .poll(() => [Object.fromEntries(judge(linesOf(program)).held), program.errors], PATIENCE)
    .toEqual([Object.fromEntries(expected), []]);
}

function seeded(): Random {
  const seed = Number(process.env["TIDEWIRE_TEST_SEED"] ?? randomInt(2 ** 31));
  console.log(`seed ${seed}`);
  return new Random(seed);
}

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-python-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function startSpawned() {
  const { client, db, name, uri } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  const file = testConfig(uri, name, { collections: COLLECTIONS, server: { heartbeat: "1s" } });
  const config = { ...file, log: { level: "info" } } as unknown as ServiceConfig; // the parts that tests look at
  const service = await spawnService({ config });
  await expect.poll(async () => (await fetch(`${service.adminUrl}/readyz`)).ok, PATIENCE).toBe(true);
  return { client, db, service };
}

test("[G2] [G3] the service is killed and the network cut: the program loses nothing and receives nothing twice", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const random = seeded();
  const { client, db, service } = await startSpawned();
  const proxy = await TcpProxy.start(service.listening.port);
  const url = `http://127.0.0.1:${proxy.port}`;
  const program = await follow(command, { url, connect: { silence: 1.5 } });
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
  await writer.stop();
  await untilAsFound(db, program);
  const { wrong, changes } = judge(linesOf(program));
  expect(wrong).toEqual([]);
  expect(changes).toBeGreaterThan(100);
  expect(program.ofType("snapshot")).toHaveLength(1);
  expect(new Set(program.ofType("subscribed").map(({ start }) => start))).toEqual(
    new Set(["snapshot", "resumed"]),
  );
});

test("a program that is interrupted and started again continues from its store, and repeats nothing", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const { client, db, service } = await startTestService({ collections: COLLECTIONS });
  const url = `http://127.0.0.1:${service.address.port}`;
  const writer = new VersionedWriter(client, db, "things", "w", seeded());
  const store = join(await emptyFolder(), "state");
  writer.start();
  const lines: Line[] = [];
  for (let count = 0; count < 3; count++) {
    const program = await follow(command, { url, store });
    const added = () => [judge(linesOf(program)).changes > 30, program.errors];
    await expect.poll(added, PATIENCE).toEqual([true, []]);
    program.signal("SIGINT");
    await expect.poll(() => program.code, PATIENCE).toBe(0);
    lines.push(...linesOf(program));
  }
  await writer.stop();
  const program = await follow(command, { url, store });
  const expected = await found(db);
  const all = () => judge([...lines, ...linesOf(program)]);
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
  const { client, db, service } = await startTestService({ collections: COLLECTIONS });
  const url = `http://127.0.0.1:${service.address.port}`;
  const writer = new VersionedWriter(client, db, "things", "w", seeded());
  const options = {
    url,
    store: join(await emptyFolder(), "state"),
    query: { snapshot: false },
    connect: { store_interval: 0.05 },
  };
  const lines: Line[] = [];
  let program = await follow(command, options);
  await expect.poll(() => [program.ofType("subscribed").length, program.errors], PATIENCE).toEqual([1, []]);
  writer.start();
  for (let count = 0; count < 3; count++) {
    const stored = () => judge(linesOf(program)).changes > 60;
    await expect.poll(stored, PATIENCE).toBe(true);
    await program.stop(); // SIGKILL
    lines.push(...linesOf(program));
    program = await follow(command, options);
  }
  await writer.stop();
  const expected = await found(db);
  const last = () => {
    const versions = new Map<string, number>();
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
    const { db, service } = await startTestService({ collections: COLLECTIONS });
    const url = `http://127.0.0.1:${service.address.port}`;
    const until = join(await emptyFolder(), "until");
    await writeMuch(db, 100);
    const program = await follow(python.python, {
      url,
      holdAt: 1,
      until,
      blocks,
      connect: { queue_limit: 50 },
    });
    await expect.poll(() => [program.ofType("holding").length, program.errors], PATIENCE).toEqual([1, []]);
    await writeMuch(db, 4_000); // 80 MB
    await writeFile(until, "");
    await expect
      .poll(() => [Object.fromEntries(judge(linesOf(program)).held), program.errors], PATIENCE)
      .toEqual([Object.fromEntries(await found(db)), []]);
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

test("tokens are renewed on the open connection: no connection ends, and no change is lost", async ({
  skip,
}) => {
  const command = pythonOrSkip(skip);
  const { client, db, service } = await startTestService({ collections: COLLECTIONS });
  const program = await follow(command, { url: `http://127.0.0.1:${service.address.port}`, tokenSeconds: 3 });
  await expect.poll(() => [program.ofType("snapshot").length, program.errors], PATIENCE).toEqual([1, []]);
  const writer = new VersionedWriter(client, db, "things", "w", seeded());
  writer.start();
  await expect.poll(() => program.ofType("token").length, PATIENCE).toBeGreaterThan(3);
  await writer.stop();
  await untilAsFound(db, program);
  expect(judge(linesOf(program)).wrong).toEqual([]);
  expect(program.ofType("welcome")).toHaveLength(1);
});

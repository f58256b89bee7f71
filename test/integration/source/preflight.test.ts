import { type Db, MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { ensureImages } from "../../../src/source/images.ts";
import {
  type FollowState,
  type Namespace,
  type PreflightOptions,
  preflight,
} from "../../../src/source/preflight.ts";
import { StartupError } from "../../../src/source/startup-error.ts";
import { Mongod, startReplicaSet, testDatabase } from "../../support/mongod.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../../support/server-features.ts";

const revocation = (mode: FollowState["mode"], database: string): FollowState => ({
  mode,
  collections: [{ database, collection: "revocations" }],
  feature: "revocation",
  without: "auth.revocation: off",
});

const options = (db: Db, ...collections: string[]): PreflightOptions => ({
  collections: collections.map((collection): Namespace => ({ database: db.databaseName, collection })),
  stateDatabase: `${db.databaseName}-state`,
  followState: revocation("off", `${db.databaseName}-state`),
  images: "auto",
});

async function problemsOf(run: Promise<unknown>): Promise<readonly string[]> {
  const error = await run.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartupError);
  return (error as StartupError).problems;
}

async function connect(uri: string): Promise<MongoClient> {
  const client = await new MongoClient(uri).connect();
  onTestFinished(() => client.close());
  return client;
}

const hasImages = async (db: Db, name: string) => {
  const [found] = await db.listCollections({ name }).toArray();
  return (found as { options?: Record<string, unknown> })?.options?.["changeStreamPreAndPostImages"];
};

test("images are switched on where they are off, and a missing collection is created with them", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, NO_IMAGES);
  const { client, db } = await testDatabase();
  await db.createCollection("plain");
  await db.createCollection("ready", { changeStreamPreAndPostImages: { enabled: true } });

  const report = await preflight(client, options(db, "plain", "ready", "missing"));
  expect(report.collections).toEqual([
    { namespace: `${db.databaseName}.plain`, images: "switched-on" },
    { namespace: `${db.databaseName}.ready`, images: "on" },
    { namespace: `${db.databaseName}.missing`, images: "switched-on" },
  ]);
  for (const name of ["plain", "ready", "missing"])
    expect(await hasImages(db, name)).toEqual({ enabled: true });
  expect(report).toMatchObject({ topology: "replica set", warnings: [] });
});

test("one deployment has one identity, another one another", async () => {
  const { client, db } = await testDatabase();
  const first = await preflight(client, options(db, "c"));
  const again = await preflight(client, options(db, "c"));
  expect(again.deploymentId).toBe(first.deploymentId);

  const other = await startReplicaSet({ members: 1 });
  onTestFinished(() => other.stop());
  const report = await preflight(await connect(other.uri), options(db, "c"));
  expect(report.deploymentId).toMatch(/^[0-9a-f]{24}$/);
  expect(report.deploymentId).not.toBe(first.deploymentId);
});

test("a view and a time-series collection are refused together, with the reason, and nothing is changed", async () => {
  const { client, db } = await testDatabase();
  await db.createCollection("plain");
  await db.createCollection("newest", { viewOn: "plain", pipeline: [] });
  await db.createCollection("samples", { timeseries: { timeField: "at" } });

  const problems = await problemsOf(preflight(client, options(db, "plain", "newest", "samples")));
  expect(problems).toEqual([
    expect.stringMatching(/\.newest is a view.*name the collection/),
    expect.stringMatching(/\.samples is a time-series collection/),
  ]);
  expect(await hasImages(db, "plain")).toBeUndefined();
});

test("images: off leaves the collections as they are", async () => {
  const { client, db } = await testDatabase();
  await db.createCollection("plain");
  const report = await preflight(client, { ...options(db, "plain"), images: "off" });
  expect(report.collections.map(({ images }) => images)).toEqual(["off"]);
  expect(await hasImages(db, "plain")).toBeUndefined();
});

test("collections of several databases are followed in the whole deployment", async () => {
  const { client, db } = await testDatabase();
  const { db: other } = await testDatabase();
  const collections = [...options(db, "a").collections, ...options(other, "b").collections];
  const report = await preflight(client, { ...options(db), collections });
  expect(report.collections.map(({ images }) => images)).toEqual(
    Array(2).fill(KEEPS_IMAGES ? "switched-on" : "off"),
  );
});

test("a standalone server is refused with the way to make it a replica set", async () => {
  const mongod = await Mongod.start();
  onTestFinished(() => mongod.dispose());
  const client = await connect(mongod.uri);
  const problems = await problemsOf(preflight(client, options(client.db("shop"), "c")));
  expect(problems).toEqual([expect.stringMatching(/standalone.*--replSet rs0.*rs\.initiate\(\)/)]);
});

test("a user hears of every missing right at once, and is let in with exactly those granted", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, NO_IMAGES);
  const set = await startReplicaSet({ members: 1, auth: true });
  onTestFinished(() => set.stop());
  const root = await connect(set.uri);
  await root.db("shop").createCollection("orders");
  await root.db("shop").createCollection("ready", { changeStreamPreAndPostImages: { enabled: true } });
  const wanted: PreflightOptions = {
    collections: ["orders", "ready", "missing"].map((collection) => ({ database: "shop", collection })),
    stateDatabase: "tidewire",
    followState: revocation("off", "tidewire"),
    images: "auto",
  };
  const admin = root.db("admin");
  const anywhere = (db: string, collection = "") => ({ db, collection });
  await admin.command({
    createRole: "service",
    privileges: [{ resource: anywhere("shop"), actions: ["find", "listCollections"] }],
    roles: [],
  });
  await admin.command({ createUser: "app", pwd: "app", roles: ["service"] });

  const app = await connect(set.uriFor({ user: "app", password: "app" }));
  expect(await problemsOf(preflight(app, { ...wanted, images: "required" }))).toEqual([
    "the user lacks changeStream on database shop, needed to follow its collections; " +
      'grant { resource: { db: "shop", collection: "" }, actions: ["changeStream"] }',
    "the user lacks find, insert, update, remove, createIndex on database tidewire, needed to keep checkpoints and keys " +
      "(mongodb.stateDatabase); " +
      'grant { resource: { db: "tidewire", collection: "" }, actions: ["find","insert","update","remove","createIndex"] }',
    "the user lacks collMod on shop.orders, needed to switch pre- and post-images on; " +
      'grant { resource: { db: "shop", collection: "orders" }, actions: ["collMod"] }',
    "the user lacks createCollection on shop.missing, needed to switch pre- and post-images on; " +
      'grant { resource: { db: "shop", collection: "missing" }, actions: ["createCollection"] }',
  ]);

  await admin.command({
    grantPrivilegesToRole: "service",
    privileges: [
      { resource: anywhere("shop"), actions: ["changeStream"] },
      { resource: anywhere("shop", "orders"), actions: ["collMod"] },
      { resource: anywhere("shop", "missing"), actions: ["createCollection"] },
      { resource: anywhere("tidewire"), actions: ["find", "insert", "update", "remove", "createIndex"] },
    ],
  });
  const report = await preflight(app, wanted);
  expect(report.collections.map(({ images }) => images)).toEqual(["switched-on", "on", "switched-on"]);
  expect(report.deploymentId).toBe("name:test");
  expect(report.warnings).toEqual([
    expect.stringMatching(/dropped and created again, .*lacks collMod on shop\.ready/),
    expect.stringContaining("clusterMonitor"),
  ]);

  await admin.command({ grantRolesToUser: "app", roles: [{ role: "clusterMonitor", db: "admin" }] });
  expect((await preflight(app, wanted)).deploymentId).toMatch(/^[0-9a-f]{24}$/);
});

test("revocation needs a stream that covers the state database: without the right it is off, or says what is missing", async () => {
  const set = await startReplicaSet({ members: 1, auth: true });
  onTestFinished(() => set.stop());
  const root = await connect(set.uri);
  const admin = root.db("admin");
  await root.db("shop").createCollection("orders");
  const anywhere = (db: string) => ({ db, collection: "" });
  await admin.command({
    createRole: "service",
    privileges: [
      {
        resource: anywhere("shop"),
        actions: ["find", "changeStream", "listCollections", "insert", "update", "remove", "createIndex"],
      },
      { resource: anywhere("tidewire"), actions: ["find", "insert", "update", "remove", "createIndex"] },
    ],
    roles: [{ role: "clusterMonitor", db: "admin" }],
  });
  await admin.command({ createUser: "app", pwd: "app", roles: ["service"] });
  const app = await connect(set.uriFor({ user: "app", password: "app" }));
  const run = (mode: FollowState["mode"], database: string, by = app) =>
    preflight(by, {
      collections: [{ database: "shop", collection: "orders" }],
      stateDatabase: database,
      followState: revocation(mode, database),
      images: "off",
    });

  const narrow = { followsState: false, scope: "database shop" };
  const missing = "the user lacks find, changeStream on every database";
  expect(await run("off", "tidewire")).toMatchObject({ ...narrow, warnings: [] });
  expect(await run("auto", "tidewire")).toMatchObject({
    ...narrow,
    warnings: [
      expect.stringMatching(
        `revocation is off: ${missing}.*; grant \\{ resource.*Otherwise set mongodb.stateDatabase to`,
      ),
    ],
  });
  expect(await problemsOf(run("on", "tidewire"))).toEqual([
    expect.stringMatching(`revocation cannot be switched on: ${missing}`),
  ]);
  // The same rights suffice where the state lies among the collections.
  for (const mode of ["auto", "on"] as const) {
    expect(await run(mode, "shop")).toMatchObject({
      followsState: true,
      scope: "database shop",
      warnings: [],
    });
    const whole = { followsState: true, scope: "the whole deployment" };
    expect(await run(mode, "tidewire", root)).toMatchObject(whole);
  }
  await admin.command({
    grantPrivilegesToRole: "service",
    privileges: [{ resource: anywhere(""), actions: ["find", "changeStream"] }],
  });
  expect(await run("auto", "tidewire")).toMatchObject({ followsState: true, scope: "the whole deployment" });
});

test("a server that wants a login says so to who gives none", async () => {
  const set = await startReplicaSet({ members: 1, auth: true });
  onTestFinished(() => set.stop());
  const client = await connect(set.uriFor());
  const problems = await problemsOf(preflight(client, options(client.db("shop"), "a", "b")));
  expect(problems).toEqual([expect.stringContaining("wants a login")]);
});

test("images are switched on again after a collection was dropped and created again, also by others meanwhile", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, NO_IMAGES);
  const { db } = await testDatabase();
  expect(await ensureImages(db, "c")).toBe("switched-on");
  await db.dropCollection("c");
  await db.collection("c").insertOne({});
  expect(await ensureImages(db, "c")).toBe("switched-on");
  expect(await ensureImages(db, "c")).toBe("on");
  await db.dropCollection("c");
  const racing = await Promise.all(Array.from({ length: 8 }, () => ensureImages(db, "c")));
  expect(racing).toContain("switched-on");
  expect(await hasImages(db, "c")).toEqual({ enabled: true });
});

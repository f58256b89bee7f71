/** Log, metric and health report which collections have images and which have their documents read for each event. */
import type { Db } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import type { Service } from "../../../src/server.ts";
import { testDatabase } from "../../support/mongod.ts";
import { startNode } from "../../support/node.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../../support/server-features.ts";
import { testConfig, toConfig } from "../../support/service.ts";

const PATIENCE = { timeout: 60_000 };
const RULES = { rules: [{ name: "all" }] };

type Line = Record<string, unknown>;

async function start(
  images: "auto" | "off",
  collections: Record<string, unknown>,
  prepare: (db: Db) => unknown,
) {
  const { db, name, uri } = await testDatabase();
  await prepare(db);
  const lines: Line[] = [];
  const log = pino({ level: "info" }, { write: (line) => lines.push(JSON.parse(line)) });
  const options = { collections, mongodb: { images } };
  const { service } = await startNode(uri, name, options, log);
  onTestFinished(async () => {
    await db.client.db(`${name}-state`).dropDatabase();
  });
  const linesOf = (msg: string) => lines.filter((line) => line["msg"] === msg);
  const reload = (edited: Record<string, unknown>) =>
    service.reload(toConfig(testConfig(uri, name, { ...options, collections: edited })));
  return { db, name, service, linesOf, reload };
}

async function healthOf({ address, adminAddress }: Service) {
  const ask = async (port: number): Promise<Line> =>
    (await (await fetch(`http://127.0.0.1:${port}/readyz`)).json()) as Line;
  return { admin: await ask(adminAddress.port), public: await ask(address.port) };
}

async function gaugeOf({ metrics }: Service): Promise<Record<string, number>> {
  const { values } = await metrics.images.get();
  return Object.fromEntries(values.map(({ labels, value }) => [String(labels["collection"]), value]));
}

const setImages = (db: Db, collection: string, enabled: boolean) =>
  db.command({ collMod: collection, changeStreamPreAndPostImages: { enabled } });

test("auto: images are on from the start, and again soon after they were switched off", async ({ skip }) => {
  skip(!KEEPS_IMAGES, NO_IMAGES);
  const { db, name, service, linesOf } = await start("auto", { things: RULES }, (shop) =>
    shop.createCollection("things"),
  );
  const things = `${name}.things`;
  expect(linesOf("MongoDB checks passed")).toMatchObject([
    { collections: [{ namespace: things, images: "switched-on" }] },
  ]);
  expect((await healthOf(service)).admin).toMatchObject({ images: { [things]: "on" } });
  expect(await gaugeOf(service)).toEqual({ [things]: 1 });
  await setImages(db, "things", false);
  const imagesOf = async () =>
    ((await db.listCollections({ name: "things" }).toArray()) as Line[])[0]?.["options"];
  await db.collection<{ _id: number; n: number }>("things").insertOne({ _id: 1, n: 1 });
  await db.collection<{ _id: number; n: number }>("things").updateOne({ _id: 1 }, { $inc: { n: 1 } });
  await expect.poll(imagesOf, PATIENCE).toMatchObject({ changeStreamPreAndPostImages: { enabled: true } });
  expect(await gaugeOf(service)).toEqual({ [things]: 1 });
});

test("off: uses each collection as it is, reports a change of it, and keeps the collections' names from the public", async ({
  skip,
}) => {
  skip(!KEEPS_IMAGES, NO_IMAGES);
  const { db, name, service, linesOf, reload } = await start(
    "off",
    { plain: RULES, has: RULES },
    async (shop) => {
      await shop.createCollection("plain");
      await shop.createCollection("has", { changeStreamPreAndPostImages: { enabled: true } });
      await shop.createCollection("more");
    },
  );
  const [plain, has, more] = ["plain", "has", "more"].map((collection) => `${name}.${collection}`) as [
    string,
    string,
    string,
  ];
  const health = await healthOf(service);
  expect(health.admin).toMatchObject({ ready: true, images: { [plain]: "off", [has]: "on" } });
  expect(health.public).toMatchObject({ ready: true, status: "ready" });
  expect(JSON.stringify(health.public)).not.toMatch(/plain|images/);
  expect(await gaugeOf(service)).toEqual({ [plain]: 0, [has]: 1 });

  await setImages(db, "has", false);
  await db.collection<{ _id: number; n: number }>("has").insertOne({ _id: 1, n: 1 });
  await db.collection<{ _id: number; n: number }>("has").updateOne({ _id: 1 }, { $inc: { n: 1 } });
  await expect.poll(() => gaugeOf(service), PATIENCE).toEqual({ [plain]: 0, [has]: 0 });
  expect(linesOf("images are off from now on: documents are read at the time of each event")).toMatchObject([
    { namespace: has, images: "off" },
  ]);

  await reload({ plain: RULES, more: RULES });
  expect(await gaugeOf(service)).toEqual({ [plain]: 0, [more]: 0 });
  expect(linesOf("more collections are followed")).toMatchObject([
    { collections: [{ namespace: more, images: "off" }] },
  ]);
  expect((await healthOf(service)).admin["images"]).toEqual({ [plain]: "off", [more]: "off" });

  await setImages(db, "plain", true);
  await expect.poll(() => gaugeOf(service), PATIENCE).toEqual({ [plain]: 1, [more]: 0 });
  expect(linesOf("images are on from now on")).toMatchObject([{ namespace: plain, images: "on" }]);
});

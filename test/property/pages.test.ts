/** Lists that grow, in the client, against the server's own `find` with the same sort, while documents move. */
import fc from "fast-check";
import { BSON, type Document, ObjectId } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../src/client/client.ts";
import { pages } from "../../src/client/pages/pages.ts";
import { encodeDocument } from "../../src/match/encode.ts";
import { EVERYTHING } from "../../src/match/projection.ts";
import { signToken, startTestService } from "../support/service.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const ROUNDS = 3 * FUZZ_FACTOR;
const STEPS = 25;
const SIZE = 5;

const COLLECTIONS = { things: { rules: [{ name: "all", filter: { shown: true } }] } };

const number = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(null, 2.5));
const at = fc.integer({ min: 0, max: 30 }).map((day) => new Date(Date.UTC(2026, 0, day)));
const id = fc.integer({ min: 0, max: 80 });
const write = fc.oneof(
  fc.record({ op: fc.constant("put" as const), id, n: number, at, shown: fc.constant(true) }),
  fc.record({ op: fc.constant("move" as const), id, n: number }),
  fc.record({ op: fc.constant("shift" as const), by: fc.integer({ min: -5, max: 5 }) }),
  fc.record({ op: fc.constant("hide" as const), id }),
  fc.record({ op: fc.constant("delete" as const), id }),
  fc.record({ op: fc.constant("more" as const) }),
);
const SORTS = [
  [["n", 1]],
  [["n", -1]],
  [
    ["at", -1],
    ["n", 1],
  ],
  [["_id", -1]],
] as const;

test("the list is a prefix of find with the same sort whenever it is settled, and all of it at the end", async () => {
  const seed = startSeed("pages");
  const { db, service, now } = await startTestService({ collections: COLLECTIONS });
  const client = createClient({
    url: `http://127.0.0.1:${service.address.port}`,
    token: () => signToken({ sub: "u1" }),
    WebSocket,
  });
  onTestFinished(() => client.close());
  const things = db.collection<Document & { _id: ObjectId }>("things");
  const idOf = (number: number) => new ObjectId(number.toString(16).padStart(24, "0"));
  let checks = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const sort of SORTS) {
      await things.deleteMany({});
      const base = client.collection<Document>("things").find({ shown: true });
      const list = pages(
        sort.reduce((query, [path, direction]) => query.sort(path, direction), base),
        SIZE,
      );
      const stop = list.subscribe(() => {});
      const find = async () => {
        const order = new Map<string, 1 | -1>(sort);
        if (!order.has("_id")) order.set("_id", 1);
        const docs = await things.find({ shown: true }).sort(order).toArray();
        return docs.map(
          (doc) => JSON.parse(encodeDocument(BSON.serialize(doc), EVERYTHING, "json")) as Document,
        );
      };
      const settled = async () => {
        const { t, i } = await now();
        const isSettled = () => list.getState().status === "live" && !list.getState().isLoadingMore;
        do {
          await expect.poll(isSettled, { timeout: 60_000, interval: 5 }).toBe(true);
          await client.fence({ t, i });
        } while (!isSettled());
        return list.getState();
      };
      const check = async () => {
        const { data, hasMore, error } = await settled();
        const found = await find();
        expect(error).toBe(undefined);
        expect(data).toEqual(found.slice(0, data.length));
        if (!hasMore) expect(data.length).toBe(found.length);
        checks++;
      };
      const steps = fc.sample(write, { numRuns: STEPS, seed: seed + round });
      const docs = fc.sample(fc.record({ n: number, at }), { numRuns: 40, seed: seed + round });
      await things.insertMany(docs.map((doc, index) => ({ ...doc, _id: idOf(index), shown: true })));
      for (const step of steps) {
        if (step.op === "put") {
          const { n, at: date, shown } = step;
          await things.replaceOne({ _id: idOf(step.id) }, { n, at: date, shown }, { upsert: true });
        }
        if (step.op === "move") await things.updateOne({ _id: idOf(step.id) }, { $set: { n: step.n } });
        if (step.op === "shift") await things.updateMany({ n: { $gt: 8 } }, { $inc: { n: step.by } });
        if (step.op === "hide") await things.updateOne({ _id: idOf(step.id) }, { $set: { shown: false } });
        if (step.op === "delete") await things.deleteOne({ _id: idOf(step.id) });
        if (step.op === "more") {
          await settled();
          list.more();
        }
        if (step.op === "more" || step.op === "shift") await check();
      }
      await check();
      while ((await settled()).hasMore) list.more();
      await check();
      stop();
    }
  }
  console.log(`pages: ${checks} lists compared`);
  expect(checks).toBeGreaterThan(ROUNDS * SORTS.length);
});

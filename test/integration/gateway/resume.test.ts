import { expect, test } from "vitest";
import { ModelClient } from "../../support/model-client.ts";
import { Oracle } from "../../support/oracle.ts";
import { signToken, startTestService } from "../../support/service.ts";

test("[G2] resumes from the watermark of an idle deployment, which may name the very time of the snapshot", async () => {
  const { client, db, name, url } = await startTestService({
    collections: { things: { rules: [{ name: "all" }] } },
    heartbeatMs: 100,
    // Watermarks of one step have one time.
    history: { cursorStep: "1s" },
  });
  const oracle = new Oracle(client, `${name}-state`);
  await oracle.learnEpoch();
  const things = db.collection<{ _id: number }>("things");
  await things.insertOne({ _id: 1 });
  const options = {
    token: await signToken({ sub: "u1" }),
    decode: (cursor: string) => oracle.decode(cursor),
  };
  let sameTime = 0;
  for (let round = 2; round < 8; round++) {
    const first = await ModelClient.connect(url, options);
    await first?.subscribe("a", { collection: "things" });
    const held = first?.subscriptions.get("a")?.held;
    await expect.poll(() => held?.phase).toBe("following");
    const snapshotTime = oracle.decode(held?.cursor ?? "").clusterTime;
    await expect.poll(() => first?.watermarks).toBeGreaterThan(0);
    if (oracle.decode(held?.cursor ?? "").clusterTime === snapshotTime) sameTime++;
    first?.drop();
    await things.insertOne({ _id: round });
    const second = await ModelClient.connect(url, options);
    expect(await second?.subscribe("a", { collection: "things" }, held)).toMatchObject({ start: "resumed" });
    await expect.poll(() => held?.documents.size).toBe(round);
    expect([...(first?.faults ?? []), ...(second?.faults ?? [])]).toEqual([]);
    second?.drop();
  }
  expect(sameTime, "rounds in which the case arose").toBeGreaterThan(0);
});

test("reports that a resumed query has caught up as soon as the other requested queries are complete", async () => {
  const { db, connect } = await startTestService({
    collections: { things: { rules: [{ name: "all" }] }, many: { rules: [{ name: "all" }] } },
    heartbeatMs: 60_000,
  });
  await db.collection<{ _id: number }>("things").insertOne({ _id: 1 });
  await db
    .collection<{ _id: number; text: string }>("many")
    .insertMany(Array.from({ length: 3_000 }, (_, _id) => ({ _id, text: "x".repeat(200) })));
  const first = await connect({ sub: "u1" });
  const { ticket, cursor } = await first.ask({ type: "subscribe", id: "a", collection: "things" });
  await first.until(({ type }) => type === "snapshot");
  await db.collection<{ _id: number }>("things").insertOne({ _id: 2 });
  const second = await connect({ sub: "u1" });
  second.send({ type: "subscribe", id: "b", collection: "many" });
  second.send({ type: "subscribe", id: "a", collection: "things", cursor, ticket });
  await second.until(({ type }) => type === "watermark", 0, 10_000);
  expect(second.received.filter(({ type, last }) => type === "snapshot" && last)).toHaveLength(1);
  expect(second.received.filter(({ type }) => type === "added")).toHaveLength(1);
});

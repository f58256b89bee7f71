import { expect, test } from "vitest";
import { startTestService } from "../../support/service.ts";

test("bytes that leave are counted, those of an open connection and those of one that has closed", async () => {
  const { service, db, connect } = await startTestService({
    collections: { things: { rules: [{ name: "everyone" }] } },
    server: { heartbeat: "1s" },
  });
  const sent = async () => {
    const { values } = await service.metrics.bytesSent.get();
    return values[0]?.value ?? 0;
  };
  const client = await connect({ sub: "u1" });
  await client.ask({ type: "subscribe", id: "a", collection: "things" });
  const before = await sent();
  await db.collection("things").insertOne({ text: "x".repeat(10_000) });
  await client.until(({ type }) => type === "added");
  await expect.poll(sent, { timeout: 60_000 }).toBeGreaterThan(before + 10_000);
  const whileOpen = await sent();
  const from = client.received.length;
  await db.collection("things").insertOne({ text: "x".repeat(10_000) });
  await client.until(({ type }) => type === "added", from);
  await client.close();
  await expect.poll(sent, { timeout: 60_000 }).toBeGreaterThan(whileOpen + 10_000);
});

/** A machine whose clock is wrong: cluster times follow MongoDB's clock, and so does a fence that waits for one to pass. */
import { expect, onTestFinished, test } from "vitest";
import { COLLECTIONS } from "../../support/http-service.ts";
import { testDatabase } from "../../support/mongod.ts";
import { signToken } from "../../support/service.ts";
import { spawnTestService } from "../../support/spawn-test-service.ts";
import { WsClient } from "../../support/ws-client.ts";

/** Far longer than a fence may wait, and shorter than the token lives. */
const SKEW_MS = 10 * 60_000;

/** Shifts the clock of a process before it loads anything. */
function shiftedBy(ms: number): string {
  const script = `
    const now = Date.now;
    globalThis.Date = class extends Date {
      constructor(...args) { super(...(args.length === 0 ? [now() + ${ms}] : args)); }
      static now() { return now() + ${ms}; }
    };`;
  return `--import data:text/javascript,${encodeURIComponent(script)}`;
}

test.each([-SKEW_MS, SKEW_MS])(
  "a fence on an unseen write is answered although the node's clock is %i ms off",
  async (skewMs) => {
    const { client: mongo, db } = await testDatabase();
    const env = { NODE_OPTIONS: shiftedBy(skewMs) };
    const service = await spawnTestService({ collections: COLLECTIONS, env });
    const url = `${service.url.replace("http", "ws")}/v1/ws`;
    const client = await WsClient.connect(url, { token: await signToken({ sub: "u1" }) });
    onTestFinished(() => client.socket.terminate());
    await client.ask({ type: "subscribe", id: "a", collection: "items" });
    await db.collection("elsewhere").insertOne({ n: 1 });
    const { operationTime } = await mongo.db("admin").command({ ping: 1 });
    expect(await client.fence(operationTime)).toMatchObject({ type: "fenced" });
  },
);

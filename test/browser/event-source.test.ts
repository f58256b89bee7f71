/** The browser's own EventSource, which nobody has to ship: its reconnection against restarts of the service. */
import { expect, test } from "vitest";
import type { ServerMessage } from "../../src/protocol/messages.ts";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { startExample } from "../support/example.ts";
import { signToken } from "../support/service.ts";

const TYPES = ["subscribed", "snapshot", "added", "changed", "removed", "watermark", "reset", "unsubscribed"];
const RESTARTS = 2;
const WRITES = 40;

/** A page's script: asks for a key, opens a stream with it, and keeps all that comes. */
const script = (token: string) => `(async () => {
  globalThis.messages = [];
  const response = await fetch("/v1/key", { method: "POST", headers: { Authorization: "Bearer ${token}" } });
  const { key } = await response.json();
  globalThis.source = new EventSource("/v1/sse?collection=orders&key=" + key);
  for (const type of ${JSON.stringify(TYPES)}) {
    source.addEventListener(type, ({ data }) => messages.push(JSON.parse(data)));
  }
})()`;

test.skipIf(isBrowserMissing)(
  "[7] the browser's own reconnection loses no change and gets none twice, through restarts of the service",
  async () => {
    const { service, orders } = await startExample("script-tag");
    const page = await openPage();
    await page.goto(`${service.url}/livez`);
    await page.evaluate(script(await signToken({ sub: "ada" })));
    const messages = () => page.evaluate<ServerMessage[]>("messages");
    const starts = async () =>
      (await messages()).flatMap((message) => (message.type === "subscribed" ? [message.start] : []));
    await expect
      .poll(async () => (await messages()).some(({ type }) => type === "snapshot"), PATIENCE)
      .toBe(true);
    for (let restart = 1; restart <= RESTARTS; restart++) {
      const writing = (async () => {
        for (let n = 0; n < WRITES; n++) {
          const item = `${restart}-${n}`;
          await orders.insertOne({ item, customerId: "ada", status: "open", at: new Date(), margin: n });
          if (n % 2 === 0) await orders.updateOne({ item }, { $set: { status: "sent" } });
          if (n % 5 === 0) await orders.deleteOne({ item });
        }
      })();
      await service.restart("SIGKILL");
      await writing;
      await expect.poll(async () => (await starts()).length, PATIENCE).toBeGreaterThan(restart);
    }
    const heard = async () =>
      (await messages()).flatMap((message) =>
        message.type === "added" ? [String(message.doc["item"])] : [],
      );
    await expect.poll(async () => (await heard()).length, PATIENCE).toBe(RESTARTS * WRITES);
    expect(new Set(await heard()).size).toBe(RESTARTS * WRITES);

    const held = new Map<unknown, object>();
    for (const message of await messages()) {
      if (message.type === "added" || message.type === "changed")
        held.set(message.doc?.["_id"], message.doc ?? {});
      if (message.type === "removed") expect(held.delete(message._id)).toBe(true);
    }
    const found = await orders.find({ customerId: "ada" }).sort({ _id: 1 }).toArray();
    expect([...held.values()]).toEqual(
      found.map(({ _id, margin: _, at, ...order }) => ({ _id: String(_id), at: at.toISOString(), ...order })),
    );
    expect(await starts()).toEqual(["snapshot", ...new Array((await starts()).length - 1).fill("resumed")]);
  },
);

/** Tabs that share one connection, in a real browser against a real service. */
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { metricOf } from "../support/metric.ts";
import { servePage } from "../support/page-server.ts";
import { startTestService } from "../support/service.ts";

const script = (url: string) => `
import { createTabClient } from "./src/client/tabs/tabs.ts";
window.client = createTabClient({ url: ${JSON.stringify(url)}, token: async () => (await fetch("/token")).text(), scope: "u1", reconnect: { minMs: 10, maxMs: 100 }, lingerMs: 100 });
window.query = client.collection("todos").find().sort("text");
window.states = [];
query.subscribe(({ data, status }) => {
  states.push(status + data.length);
  document.getElementById("root").textContent = status + ": " + data.map(({ text }) => text).join();
});
`;

async function open() {
  const setup = await startTestService({
    collections: {
      todos: { rules: [{ name: "all" }] },
      secrets: { rules: [{ name: "staff", when: { "%%user.staff": true } }] },
    },
    server: { origins: ["*"] },
  });
  const todos = setup.db.collection("todos");
  await todos.insertOne({ text: "a" });
  const address = await servePage({ script: script(`http://127.0.0.1:${setup.service.address.port}`) });
  const first = await openPage();
  await first.goto(address);
  const another = async () => {
    const page = await first.context().newPage();
    await page.goto(address);
    return page;
  };
  const connections = () => metricOf(setup.service, "tidewire_connections");
  return { ...setup, todos, first, another, connections };
}

const shows = (page: Page, text: string) =>
  expect.poll(() => page.locator("#root").textContent(), PATIENCE).toBe(text);

test.skipIf(isBrowserMissing)("all tabs show the same over one connection and one subscription", async () => {
  const { todos, first, another, connections, service, now } = await open();
  const tabs = [first, await another(), await another()];
  for (const tab of tabs) await shows(tab, "live: a");
  expect(await connections()).toBe(1);
  expect(await metricOf(service, "tidewire_subscriptions")).toBe(1);
  await todos.insertOne({ text: "b" });
  await todos.updateOne({ text: "a" }, { $set: { text: "c" } });
  for (const tab of tabs) await shows(tab, "live: b,c");
  await todos.deleteOne({ text: "b" });
  const { t, i } = await now();
  const held = await Promise.all(
    tabs.map((tab) =>
      tab.evaluate<number>(`client.fence({ t: ${t}, i: ${i} }).then(() => query.getState().data.length)`),
    ),
  );
  expect(held).toEqual([1, 1, 1]);
});

test.skipIf(isBrowserMissing)(
  "when the tab that leads is closed, another one takes over, and what is shown stays",
  async () => {
    const { todos, first, another, connections } = await open();
    await shows(first, "live: a");
    const others = [await another(), await another()];
    for (const tab of others) await shows(tab, "live: a");
    await first.close();
    await todos.insertOne({ text: "b" });
    for (const tab of others) {
      await shows(tab, "live: a,b");
      const states = await tab.evaluate<string[]>("states");
      expect(states.slice(states.indexOf("live1")).filter((state) => state.endsWith("0"))).toEqual([]);
    }
    await expect.poll(connections, PATIENCE).toBe(1);
    // A tab that only followed leaves nothing behind.
    await others[1]?.close();
    await todos.insertOne({ text: "c" });
    await shows(others[0] as Page, "live: a,b,c");
    expect(await connections()).toBe(1);
  },
);

test.skipIf(isBrowserMissing)(
  "a refused query stops in its tab alone, with the reason of the service",
  async () => {
    const { first, another } = await open();
    const tab = await another();
    await shows(tab, "live: a");
    const code = await tab.evaluate(
      'client.collection("secrets").find().snapshot().then(() => "", (error) => error.code)',
    );
    expect(code).toBe("forbidden");
    await shows(tab, "live: a");
    await shows(first, "live: a");
  },
);

/** Tabs that share one connection, in a real browser against a real service. */
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { metricOf } from "../support/metric.ts";
import { servePage } from "../support/page-server.ts";
import { startTestService } from "../support/service.ts";

interface TabOptions {
  readonly tokenSeconds?: number;
  readonly leaderSilenceMs?: number;
  readonly post?: NonNullable<Parameters<typeof servePage>[0]["post"]>;
}

const script = (url: string, { leaderSilenceMs }: TabOptions) => `
import { createTabClient } from "./src/client/tabs/tabs.ts";
window.calls = [];
window.states = [];
// With such short pauses, a service that refuses for a second would use up the attempts of a minute.
const reconnect = { minMs: 10, maxMs: 100, attemptsPerMinute: 600 };
window.start = (name) => {
  const token = async () => {
    calls.push(name);
    return localStorage.getItem("token") ?? (await fetch("/token")).text();
  };
  window.client = createTabClient({ url: ${JSON.stringify(url)}, token, scope: "u1", reconnect, lingerMs: 100, leaderSilenceMs: ${leaderSilenceMs} });
  window.query = client.collection("todos").find().sort("text");
  window.leave = query.subscribe(({ data, status }) => {
    states.push(status + data.length);
    document.getElementById("root").textContent = status + ": " + data.map(({ text }) => text).join();
  });
};
start("one");
`;

async function open(options: TabOptions = {}) {
  const setup = await startTestService({
    collections: {
      todos: { rules: [{ name: "all" }] },
      secrets: { rules: [{ name: "staff", when: { "%%user.staff": true } }] },
    },
    server: { origins: ["*"] },
  });
  const todos = setup.db.collection("todos");
  await todos.insertOne({ text: "a" });
  const address = await servePage({
    script: script(`http://127.0.0.1:${setup.service.address.port}`, options),
    ...options,
  });
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
  await expect.poll(connections, PATIENCE).toBe(1);
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
    await expect.poll(connections, PATIENCE).toBe(1);
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

const stateOf = (page: Page) =>
  page.evaluate<unknown>(
    "[client.state.status, client.state.error?.code, query.getState().status, query.getState().error?.code]",
  );
const STOPPED = ["stopped", "unauthenticated", "stopped", "unauthenticated"];
const locksOf = (page: Page) =>
  page.evaluate<number>("navigator.locks.query().then(({ held, pending }) => held.length + pending.length)");

test.skipIf(isBrowserMissing)(
  "when the service refuses the tokens of the tab that leads, the clients of all tabs stop with the reason, and can start again",
  async () => {
    const { first, another, connections } = await open({ tokenSeconds: 6 });
    const tab = await another();
    for (const page of [first, tab]) await shows(page, "live: a");
    await tab.evaluate('localStorage.setItem("token", "refused")');
    for (const page of [first, tab]) await expect.poll(() => stateOf(page), PATIENCE).toEqual(STOPPED);
    await expect.poll(connections, PATIENCE).toBe(0);
    await tab.evaluate('localStorage.removeItem("token"); client.connect()');
    await shows(tab, "live: a");
    expect(await stateOf(first)).toEqual(STOPPED);
    await first.evaluate("client.connect()");
    await shows(first, "live: a");
    await expect.poll(connections, PATIENCE).toBe(1);
  },
);

test.skipIf(isBrowserMissing)(
  "a tab whose client is closed leads no more, and the next one uses its own function for tokens",
  async () => {
    const { todos, first, another, connections } = await open();
    await shows(first, "live: a");
    const tab = await another();
    await shows(tab, "live: a");
    expect(await tab.evaluate("calls")).toEqual([]);
    await first.evaluate("client.close()");
    await expect.poll(() => tab.evaluate("calls"), PATIENCE).toEqual(["one"]);
    await todos.insertOne({ text: "b" });
    await shows(tab, "live: a,b");
    await first.evaluate('start("two")');
    await shows(first, "live: a,b");
    await expect.poll(connections, PATIENCE).toBe(1);
    await tab.evaluate("client.close()");
    await expect.poll(() => first.evaluate("calls"), PATIENCE).toEqual(["one", "two"]);
    await todos.insertOne({ text: "c" });
    await shows(first, "live: a,b,c");
  },
);

test.skipIf(isBrowserMissing)("a group ends with the last client that needs a connection", async () => {
  const { first, another, connections } = await open();
  const tab = await another();
  for (const page of [first, tab]) await shows(page, "live: a");
  // The leader without a query of its own still serves the other tab.
  await first.evaluate("leave()");
  await expect.poll(() => first.evaluate("client.state.status"), PATIENCE).toBe("idle");
  await shows(tab, "live: a");
  expect(await tab.evaluate("calls")).toEqual([]);
  await tab.evaluate("leave()");
  await expect.poll(() => locksOf(tab), PATIENCE).toBe(0);
  await expect.poll(connections, PATIENCE).toBe(0);
  await tab.evaluate('start("two")');
  await shows(tab, "live: a");
  expect(await tab.evaluate("calls")).toEqual(["two"]);
  await tab.evaluate("client.close()");
  await expect.poll(() => locksOf(tab), PATIENCE).toBe(0);
});

test.skipIf(isBrowserMissing)(
  "when the tab that leads is frozen, another one takes over, and the frozen one follows when it wakes",
  async () => {
    let thaw: () => void = () => {};
    const thawed = new Promise<void>((resolve) => {
      thaw = resolve;
    });
    const { todos, first, another, connections } = await open({
      leaderSilenceMs: 2_000,
      post: { "/thaw": () => thawed },
    });
    await shows(first, "live: a");
    const others = [await another(), await another()];
    for (const tab of others) await shows(tab, "live: a");
    // A synchronous request stops the thread of the page until it is answered.
    const frozen = first.evaluate(
      'const request = new XMLHttpRequest(); request.open("POST", "/thaw", false); request.send("{}");',
    );
    await todos.insertOne({ text: "b" });
    for (const tab of others) await shows(tab, "live: a,b");
    const late = await another();
    await shows(late, "live: a,b");
    thaw();
    await frozen;
    await todos.insertOne({ text: "c" });
    for (const tab of [first, late, ...others]) await shows(tab, "live: a,b,c");
    await expect.poll(connections, PATIENCE).toBe(1);
  },
);

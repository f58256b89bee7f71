/** The built client in a real browser: the way it takes where WebSockets are blocked, and the examples that use it. */
import { expect, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { startExample } from "../support/example.ts";

const order = (item: string) => ({ item, customerId: "ada", status: "open", at: new Date(), margin: 1 });

test.skipIf(isBrowserMissing)(
  "if upgrades are refused, the client falls back to server-sent events; if those are refused, too, to polls",
  async () => {
    const { proxy, orders, url } = await startExample("react");
    proxy.welcome = "no-websocket";
    await orders.insertOne(order("tea"));
    const page = await openPage();
    const ways = new Set<string>();
    page.on("response", (response) => {
      const [, way] = /\/v1\/(sse|poll)\?/.exec(response.url()) ?? [];
      if (way !== undefined && response.ok()) ways.add(way);
    });
    await page.goto(url);
    const items = () => page.locator("li span:first-child").allTextContents();
    await expect.poll(items, PATIENCE).toEqual(["tea"]);
    await orders.insertOne(order("milk"));
    await expect.poll(items, PATIENCE).toEqual(["milk", "tea"]);
    expect([...ways]).toEqual(["sse"]);

    await page.route("**/v1/sse?*", (route) => route.abort());
    proxy.cut();
    await orders.insertOne(order("eggs"));
    await expect.poll(items, PATIENCE).toEqual(["eggs", "milk", "tea"]);
    await orders.deleteOne({ item: "tea" });
    await expect.poll(items, PATIENCE).toEqual(["eggs", "milk"]);
    expect([...ways]).toEqual(["sse", "poll"]);
  },
);

test.skipIf(isBrowserMissing).each([["vue"], ["script-tag"]])(
  "the %s example follows, and resumes after a cut",
  async (name) => {
    const { proxy, orders, url } = await startExample(name);
    await orders.insertOne(order("tea"));
    const page = await openPage();
    await page.goto(url);
    await page.getByText("1 shown, live").waitFor();
    proxy.cut();
    await orders.insertOne(order("milk"));
    await page.getByText("2 shown, live").waitFor();
    await orders.updateOne({ item: "tea" }, { $set: { status: "sent" } });
    await page.locator("li", { hasText: "tea" }).filter({ hasText: "sent" }).waitFor();
    expect(await page.locator("li").count()).toBe(2);
  },
);

test.skipIf(isBrowserMissing)(
  "a page of an origin that server.origins does not list finds in its console what is wrong, once",
  async () => {
    const { url } = await startExample("script-tag", { origins: ["https://listed.example"] });
    const page = await openPage();
    const warnings: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "warning") warnings.push(message.text());
    });
    await page.goto(url);
    await expect.poll(() => warnings, PATIENCE).toEqual([expect.stringMatching(/^tidewire: cannot connect/)]);
    expect(warnings[0]).toContain(`server.origins lists ${new URL(url).origin}`);
  },
);

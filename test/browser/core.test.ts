/** The core of the client alone, as it is built for pages without a build step, in a real browser. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { ROOT } from "../support/build.ts";
import { startExample } from "../support/example.ts";

const order = (item: string) => ({ item, customerId: "ada", status: "open", at: new Date(), margin: 1 });

/** In place of the client that the page loads itself. */
const NO_CLIENT =
  "const tidewire = { createClient: () => ({ collection: () => ({ find: () => ({ subscribe() {} }) }) }) }";

/** Runs in the page. A page that the test makes up has no address, and Chromium keeps it from services on loopback. */
const FOLLOW = `(async () => {
  const { createClient } = await import("/core.js");
  const client = createClient({
    url: new URLSearchParams(location.search).get("service"),
    token: async () => {
      const response = await fetch("/token", { method: "POST", body: JSON.stringify({ user: "ada" }) });
      return (await response.json()).token;
    },
  });
  client.collection("orders").find({ status: "open" }).sort("item").limit(2).subscribe(({ data, status }) => {
    document.querySelector("#status").textContent = [status, ...data.map(({ item }) => item)].join(" ");
  });
})()`;

test.skipIf(isBrowserMissing)(
  "a page with the core alone follows a window of a live query, resumes after a cut, and loads nothing else",
  async () => {
    const { proxy, orders, url } = await startExample("script-tag", { tokenLife: "40s" });
    await orders.insertMany([order("eggs"), order("tea")]);
    const page = await openPage();
    const scripts: string[] = [];
    page.on("request", (request) => {
      if (request.resourceType() === "script") scripts.push(new URL(request.url()).pathname);
    });
    const core = await readFile(join(ROOT, "dist", "browser", "core.js"), "utf8");
    await page.route("**/core.js", (route) => route.fulfill({ contentType: "text/javascript", body: core }));
    await page.route("**/tidewire.js", (route) =>
      route.fulfill({ contentType: "text/javascript", body: NO_CLIENT }),
    );
    await page.goto(url);
    await page.evaluate(FOLLOW);
    const shown = () => page.locator("#status").textContent();
    await expect.poll(shown, PATIENCE).toBe("live eggs tea");
    await orders.insertOne(order("bread"));
    await expect.poll(shown, PATIENCE).toBe("live bread eggs");
    proxy.cut();
    await orders.updateOne({ item: "bread" }, { $set: { status: "sent" } });
    await expect.poll(shown, PATIENCE).toBe("live eggs tea");
    expect(scripts).toEqual(["/tidewire.js", "/core.js"]);
  },
);

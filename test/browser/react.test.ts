/** The React example in a real browser, through all that happens to connections and tokens. */
import type { Collection } from "mongodb";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { freezeTabs, isBrowserMissing, openPage, PATIENCE, Wire } from "../support/browser.ts";
import { type ExampleOptions, type ExampleOrder, startExample } from "../support/example.ts";

const order = (item: string, customerId = "ada"): ExampleOrder => ({
  item,
  customerId,
  status: "open",
  margin: 7,
  at: new Date(),
});

/** The text of the list: one line per order. */
async function shown(page: Page): Promise<string[]> {
  const rows = await page.locator("li").allInnerTexts();
  return rows.map((row) => row.split("\n").slice(0, 2).join(" "));
}

async function found(orders: Collection<ExampleOrder>): Promise<string[]> {
  const docs = await orders.find({ customerId: "ada" }).sort({ at: -1, _id: 1 }).toArray();
  return docs.map(({ item, status }) => `${item} ${status}`);
}

async function open(options?: ExampleOptions) {
  const world = await startExample("react", options);
  await world.orders.insertMany([order("tea"), order("rum", "ben")]);
  const page = await openPage();
  const wire = new Wire(page);
  await page.goto(world.url);
  const asFound = async () => {
    await expect
      .poll(async () => [await shown(page), await found(world.orders)].map((list) => list.join()), PATIENCE)
      .toSatisfy(([held, expected]: string[]) => held === expected);
    await expect.poll(() => page.getByRole("status").textContent(), PATIENCE).toMatch(/shown, live$/);
  };
  await asFound();
  return { ...world, page, wire, asFound };
}

test.skipIf(isBrowserMissing)(
  "shows what find shows, over one connection with one subscription, also in StrictMode",
  async () => {
    const { page, wire, orders, asFound } = await open();
    await page.getByLabel("Item").fill("bread");
    await page.getByRole("button", { name: "Order" }).click();
    await page.getByText("bread", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Send bread" }).click();
    await orders.updateOne({ item: "rum" }, { $set: { customerId: "ada" } });
    await orders.deleteOne({ item: "tea" });
    // The button's write is made by the example's backend, so it may come after the others.
    await expect.poll(() => shown(page), PATIENCE).toEqual(["bread sent", "rum open"]);
    await asFound();
    expect(wire.sockets.length).toBe(1);
    expect(wire.sent("subscribe").length).toBe(1);
    expect(JSON.stringify(wire.received("added"))).not.toContain("margin");

    await page.getByLabel("Show").selectOption("open");
    await expect.poll(() => shown(page), PATIENCE).toEqual(["rum open"]);
    await page.getByLabel("Show").selectOption("all");
    await asFound();
    // The first query is kept for a moment. A slow machine may need longer than that, and then subscribes once more.
    const following = () => wire.sent("subscribe").length - wire.sent("unsubscribe").length;
    await expect.poll(following, PATIENCE).toBe(1);
    expect(wire.sent("subscribe").length).toBeLessThanOrEqual(3);
    expect(wire.sockets.length).toBe(1);
  },
);

test.skipIf(isBrowserMissing)(
  "a connection that is cut, and a service that is killed, are made up for",
  async () => {
    const { service, proxy, wire, orders, asFound } = await open();
    for (const item of ["milk", "eggs"]) {
      proxy.cut();
      await orders.insertOne(order(item));
      await asFound();
    }
    await service.kill("SIGKILL");
    await orders.insertOne(order("wine"));
    await orders.updateOne({ item: "milk" }, { $set: { status: "sent" } });
    await orders.deleteOne({ item: "eggs" });
    await service.start();
    await asFound();
    expect(wire.received("subscribed").map(({ start }) => start)).toEqual([
      "snapshot",
      ...new Array(wire.received("subscribed").length - 1).fill("resumed"),
    ]);
    expect(wire.received("subscribed").length).toBeGreaterThanOrEqual(3);
    await expect.poll(() => wire.open, PATIENCE).toBeLessThanOrEqual(1);
  },
);

test.skipIf(isBrowserMissing)(
  "a tab that was frozen while the service was down resumes when it thaws",
  async () => {
    const { service, wire, orders, asFound } = await open();
    const thaw = await freezeTabs();
    await orders.insertOne(order("milk"));
    await service.restart("SIGKILL");
    await orders.insertOne(order("eggs"));
    thaw();
    await asFound();
    expect(wire.received("snapshot").length).toBe(1);
    // The browser reports the end of the old socket when it gets to it.
    await expect.poll(() => wire.open, PATIENCE).toBe(1);
  },
);

test.skipIf(isBrowserMissing)(
  "a token is renewed on the connection before it runs out, and after that by another connection",
  async () => {
    // A busy browser may need seconds between the notice and the new token.
    const { page, wire, orders, asFound } = await open({ tokenLife: "12s", auth: { expiryNotice: "5s" } });
    await expect.poll(() => wire.received("refreshed").length, PATIENCE).toBeGreaterThan(0);
    expect(wire.sockets.length).toBe(1);
    // The backend that hands them out is away for longer than the token lasts.
    let refused = 0;
    await page.route("**/token", (route) => {
      refused++;
      return route.abort();
    });
    await expect.poll(() => wire.open, PATIENCE).toBe(0);
    const endedMs = Date.now();
    await expect.poll(() => refused, PATIENCE).toBeGreaterThan(0);
    // Numeric dates are whole seconds: from the next one on, a token certainly begins after the last one ended.
    await expect.poll(() => Date.now() - endedMs, PATIENCE).toBeGreaterThan(1_000);
    await orders.insertOne(order("milk"));
    await page.unroute("**/token");
    await asFound();
    expect(wire.received("error")).toContainEqual(
      expect.objectContaining({ code: "unauthenticated", retry: "token" }),
    );
    // No token gave the right in between, so the changes of that time are not sent: the result is read again.
    expect(wire.received("subscribed").map(({ start, reason }) => [start, reason])).toEqual([
      ["snapshot", undefined],
      ["reset", "rights-changed"],
    ]);
  },
);

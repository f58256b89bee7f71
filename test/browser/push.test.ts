/** Notifications from end to end: a page registers and closes, a document is written, and the service worker shows it. */
import type { BrowserContext, CDPSession, Page } from "playwright-core";
import { expect, test } from "vitest";
import { isFullBrowserMissing, openPage, PATIENCE, takeFullBrowser } from "../support/browser.ts";
import { startExample } from "../support/example.ts";
import { PushEndpoint, type SubscriptionJson } from "../support/push-endpoint.ts";
import { pushSection } from "../support/push-world.ts";

takeFullBrowser();

/**
 * This browser has no push service of its own, so its push manager subscribes at the one of the test. Everything else is
 * the browser's own.
 */
const subscribeAt = (json: SubscriptionJson) => `{
  let present = null;
  PushManager.prototype.getSubscription = async () => present;
  PushManager.prototype.subscribe = async ({ applicationServerKey, userVisibleOnly }) => {
    const text = atob(applicationServerKey.replaceAll("-", "+").replaceAll("_", "/"));
    const key = Uint8Array.from(text, (character) => character.charCodeAt(0)).buffer;
    const json = ${JSON.stringify(json)};
    present = {
      ...json,
      options: { applicationServerKey: key, userVisibleOnly },
      toJSON: () => json,
      unsubscribe: async () => true,
    };
    return present;
  };
}`;

/** The service worker's registration, as the browser's protocol knows it. */
async function workerOf(
  context: BrowserContext,
  page: Page,
): Promise<{ cdp: CDPSession; registrationId: string }> {
  const cdp = await context.newCDPSession(page);
  const found = new Promise<string>((resolve) => {
    cdp.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      const [registration] = registrations;
      if (registration !== undefined) resolve(registration.registrationId);
    });
  });
  await cdp.send("ServiceWorker.enable");
  return { cdp, registrationId: await found };
}

interface Shown {
  readonly title: string;
  readonly body: string;
  readonly tag: string;
  readonly data: unknown;
}

const notificationsOf = (page: Page) =>
  page.evaluate<Shown[]>(`(async () => {
    const registration = await navigator.serviceWorker.ready;
    const shown = await registration.getNotifications();
    return shown.map(({ title, body, tag, data }) => ({ title, body, tag, data }));
  })()`);

test.skipIf(isFullBrowserMissing)(
  "a user whose page is closed is notified of a document that matches, with nothing of its hidden fields",
  async () => {
    const endpoint = await PushEndpoint.start();
    const templates = {
      orders: { title: "New: {{item}}", body: "{{status}}{{margin}}", url: "/?order={{_id}}" },
    };
    const { orders, url } = await startExample("push", { push: pushSection({ templates }) });
    const page = await openPage({ permissions: ["notifications"] });
    const context = page.context();
    await context.addInitScript(subscribeAt(endpoint.subscription("chromium")));
    await page.goto(url);
    await page.click("#notify");
    await page.getByText("You are notified of new orders").waitFor();

    // The origin keeps a page that is not the application's, so that the service worker can be asked what it shows.
    const { origin } = new URL(url);
    const watcher = await context.newPage();
    await watcher.goto(`${origin}/style.css`);
    await page.close();
    const { cdp, registrationId } = await workerOf(context, watcher);

    const order = { customerId: "ada", status: "open", at: new Date(), margin: 77 };
    await orders.insertOne({ ...order, customerId: "bob", item: "not for her" });
    await orders.insertOne({ ...order, item: "tea" });
    await expect.poll(() => endpoint.accepted("chromium").length, PATIENCE).toBe(1);
    const [payload] = endpoint.accepted("chromium");
    await cdp.send("ServiceWorker.deliverPushMessage", {
      origin,
      registrationId,
      data: JSON.stringify(payload),
    });
    await expect
      .poll(() => notificationsOf(watcher), PATIENCE)
      .toEqual([
        {
          title: "New: tea",
          body: "open",
          tag: payload?.["registration"],
          data: { url: expect.stringMatching(/^\/\?order=[0-9a-f]{24}$/) },
        },
      ]);

    // A later notification replaces the one that is shown.
    await orders.insertOne({ ...order, item: "coffee" });
    await expect.poll(() => endpoint.accepted("chromium").length, PATIENCE).toBe(2);
    const data = JSON.stringify(endpoint.accepted("chromium")[1]);
    await cdp.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data });
    await expect
      .poll(async () => (await notificationsOf(watcher)).map(({ title }) => title), PATIENCE)
      .toEqual(["New: coffee"]);
    expect(JSON.stringify(endpoint.accepted())).not.toContain("77");
  },
);

test.skipIf(isFullBrowserMissing)(
  "a page lists and removes the registrations of its user, and registers once",
  async () => {
    const endpoint = await PushEndpoint.start();
    const { orders, url } = await startExample("push", { push: pushSection() });
    const page = await openPage({ permissions: ["notifications"] });
    await page.addInitScript(subscribeAt(endpoint.subscription("chromium")));
    await page.goto(url);
    const status = () => page.locator("#status").textContent();
    for (let round = 0; round < 2; round++) {
      await page.click("#notify");
      await page.getByText("You are notified of new orders").waitFor();
    }
    await orders.insertOne({ customerId: "ada", item: "tea", status: "open", at: new Date(), margin: 1 });
    await expect.poll(() => endpoint.received.length, PATIENCE).toBe(1);
    await page.click("#stop");
    await expect.poll(status, PATIENCE).toBe("");
    await orders.insertOne({ customerId: "ada", item: "coffee", status: "open", at: new Date(), margin: 1 });
    await page.getByText("coffee").waitFor();
    await page.reload();
    await page.getByText("coffee").waitFor();
    expect([await status(), endpoint.received.length]).toEqual(["", 1]);
  },
);

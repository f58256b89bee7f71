/** The console of a service with 2,000 live connections. */
import { once } from "node:events";
import type { Page } from "playwright-core";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { digestOf } from "../../src/admin/access/digest.ts";
import { CLOSE_CODES } from "../../src/protocol/close-codes.ts";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { showView } from "../support/console.ts";
import { testDatabase } from "../support/mongod.ts";
import { signToken, testConfig } from "../support/service.ts";
import { spawnService } from "../support/spawn-service.ts";

const CONNECTIONS = 2_000;
const AT_ONCE = 50;
const SECRET = "the-secret-of-an-admin-of-2000-connections";
/** An idle machine needs a tenth of this. It is less than the interval at which the list is read anyway. */
const GONE_WITHIN_MS = 4_000;

async function startService() {
  const { client, name, uri } = await testDatabase();
  onTestFinished(async () => void (await client.db(`${name}-state`).dropDatabase()));
  const sha256 = digestOf(SECRET).toString("hex");
  const { mongodb, ...file } = testConfig(uri, name, {
    collections: { items: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } },
    server: { admin: { port: 0, tokens: [{ name: "ada", sha256, roles: ["view", "act"] }] } },
  });
  // The log says where it listens.
  const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
  const service = await spawnService({ config });
  await expect.poll(async () => (await fetch(`${service.adminUrl}/readyz`)).ok, PATIENCE).toBe(true);
  return service;
}

/** A client with one subscription. Its requests go out together with `hello`. */
async function connect(url: string, sub: string): Promise<WebSocket> {
  const token = await signToken({ sub });
  const socket = new WebSocket(url, ["tidewire.v1"], { perMessageDeflate: false });
  onTestFinished(() => socket.terminate());
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "hello", token }));
  socket.send(JSON.stringify({ type: "subscribe", id: "1", collection: "items", snapshot: false }));
  await new Promise<void>((resolve) => {
    socket.on("message", (data) => {
      if (JSON.parse(String(data)).type === "subscribed") resolve();
    });
  });
  return socket;
}

async function connectAll(url: string): Promise<Map<string, WebSocket>> {
  const bySub = new Map<string, WebSocket>();
  for (let from = 0; from < CONNECTIONS; from += AT_ONCE) {
    const subs = Array.from({ length: AT_ONCE }, (_, at) => `user-${from + at}`);
    await Promise.all(subs.map(async (sub) => bySub.set(sub, await connect(url, sub))));
  }
  return bySub;
}

const rows = (page: Page) => page.getByRole("table", { name: "Connections" }).getByRole("row");

/** The next reading of the list by the page. */
const listRead = (page: Page) =>
  page.waitForResponse((response) => response.url().includes("/api/v1/connections?"));

test.skipIf(isBrowserMissing)(
  "lists 2,000 live connections, finds one by its user, and shows at once that a revocation has ended it",
  async () => {
    const service = await startService();
    const sockets = await connectAll(`${service.url.replace("http", "ws")}/v1/ws`);
    const page = await openPage({ viewport: { width: 1440, height: 900 } });
    await page.goto(`${service.adminUrl}/#login=${SECRET}`);
    await showView(page, "Overview");
    const total = page.locator(".totals div").nth(1).locator("dd");
    await expect.poll(() => total.textContent(), PATIENCE).toBe("2,000");

    await showView(page, "Connections");
    const isAtEnd = async () => {
      await page.evaluate(
        "{ const box = document.querySelector('.data'); if (box) box.scrollTop = box.scrollHeight; }",
      );
      return page.getByText("2,000 connections").isVisible();
    };
    await expect.poll(isAtEnd, PATIENCE).toBe(true);
    expect(await rows(page).count()).toBeLessThan(80);

    await page.keyboard.press("/");
    await page.keyboard.type("user-1234");
    await page.keyboard.press("Enter");
    await expect.poll(() => rows(page).count(), PATIENCE).toBe(2);
    await page.getByRole("button", { name: "user-1234" }).click();
    const dialog = page.getByRole("dialog", { name: "Connection" });
    await dialog.getByRole("button", { name: "Revoke tokens" }).click();
    const yes = dialog.getByRole("button", { name: "Yes, revoke tokens" });
    await yes.waitFor();

    const socket = sockets.get("user-1234");
    if (socket === undefined) throw new Error("the user is connected");
    // The list has just been read, so that its interval does not show the end.
    await listRead(page);
    const startedMs = performance.now();
    const closed = once(socket, "close").then(([code]) => ({ code, ms: performance.now() - startedMs }));
    await yes.click();
    await page.getByText("No connection matches").waitFor();
    const goneMs = performance.now() - startedMs;
    const { code, ms: closedMs } = await closed;
    console.log(`revoked: closed after ${Math.round(closedMs)} ms, gone after ${Math.round(goneMs)} ms`);
    expect(code).toBe(CLOSE_CODES.tokenRevoked);
    expect(closedMs).toBeLessThan(GONE_WITHIN_MS);
    expect(goneMs).toBeLessThan(GONE_WITHIN_MS);
    await dialog.getByText("lasts over a restart", { exact: true }).waitFor();

    await page.keyboard.press("Escape");
    await showView(page, "Overview");
    await expect.poll(() => total.textContent(), PATIENCE).toBe("1,999");
    const others = [...sockets].filter(([sub]) => sub !== "user-1234");
    expect(others.filter(([, { readyState }]) => readyState !== WebSocket.OPEN)).toEqual([]);
  },
);

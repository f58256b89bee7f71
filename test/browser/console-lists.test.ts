/** Connections, live queries, revocations, the audit and the overview in the console, while the demo writes. */
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { isBrowserMissing, PATIENCE } from "../support/browser.ts";
import { accessibilityFaults, openConsole, showView, tooNarrow } from "../support/console.ts";

const table = (page: Page, name: string) => page.getByRole("table", { name });
const dialog = (page: Page, name: string) => page.getByRole("dialog", { name });

test.skipIf(isBrowserMissing)(
  "shows the fleet, its load and its troubles, and goes on after a restart",
  async () => {
    const { page, kill, token } = await openConsole();
    await showView(page, "Overview");
    const node = page.getByRole("region", { name: "Nodes" }).last().getByRole("row").nth(1);
    await node.getByText("ready", { exact: true }).waitFor();
    await page.getByText("Nothing is wrong").waitFor();
    const connections = page.locator(".totals div").nth(1).locator("dd");
    await expect.poll(() => connections.textContent(), PATIENCE).toBe("3");
    await page.getByRole("img", { name: /^Deliveries, now/ }).waitFor();
    await page.reload();
    await page.getByRole("img", { name: /^Deliveries, now/ }).waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await tooNarrow(page)).toEqual([]);

    await kill();
    await page.getByText("Your session has ended").waitFor();
    await page.getByLabel("Admin token").fill(token);
    await page.getByLabel("Admin token").press("Enter");
    await page.getByRole("region", { name: "Nodes" }).getByText("ready", { exact: true }).first().waitFor();
    await page.getByRole("img", { name: /^Deliveries, now/ }).waitFor();
  },
);

test.skipIf(isBrowserMissing)("finds a connection, and acts on it with an entry in the audit", async () => {
  const { page } = await openConsole();
  await showView(page, "Connections");
  const rows = table(page, "Connections").getByRole("row");
  await expect.poll(() => rows.count(), PATIENCE).toBe(4);
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);
  await page.keyboard.press("/");
  await page.keyboard.type("ada");
  await page.keyboard.press("Enter");
  await expect.poll(() => rows.count(), PATIENCE).toBe(2);
  expect(page.url()).toContain("sub=ada");
  await page.reload();
  await page.getByRole("button", { name: "ada" }).focus();
  await page.keyboard.press("Enter");
  const opened = dialog(page, "Connection");
  await opened.getByRole("cell", { name: "orders" }).waitFor();
  await opened.getByRole("cell", { name: "live" }).waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);

  await opened.getByRole("button", { name: "Re-authorize" }).click();
  await opened.getByRole("button", { name: "Yes, re-authorize" }).click();
  await opened.getByText("does not last", { exact: true }).waitFor();
  await opened.getByRole("button", { name: "Disconnect" }).click();
  await opened.getByRole("button", { name: "Yes, disconnect" }).click();
  await opened.getByText("The client may connect again at once, here").waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  await page.keyboard.press("Escape");

  await showView(page, "Audit");
  await table(page, "Acts").getByRole("cell", { name: "disconnect" }).waitFor();
  await table(page, "Acts")
    .getByText(/sub: ada/)
    .first()
    .waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  expect(await tooNarrow(page)).toEqual([]);
});

test.skipIf(isBrowserMissing)("revokes the tokens of a user and undoes it", async () => {
  const { page } = await openConsole();
  await showView(page, "Revocations");
  await page.getByText("No token is revoked").waitFor();
  await page.getByRole("button", { name: "Revoke tokens …" }).click();
  const form = dialog(page, "Revoke tokens");
  await form.getByLabel("User (sub)").fill("<b>eve</b>");
  await form.getByRole("button", { name: "Revoke", exact: true }).click();
  expect(await accessibilityFaults(page)).toEqual([]);
  await form.getByRole("button", { name: "Yes, revoke" }).click();
  await form.getByText("lasts over a restart", { exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "<b>eve</b>" }).click();
  expect(await tooNarrow(page)).toEqual([]);
  await dialog(page, "Revocation").getByRole("button", { name: "Undo" }).click();
  await dialog(page, "Revocation").getByRole("button", { name: "Yes, undo" }).click();
  await dialog(page, "Revocation").getByText("Done.").waitFor();
  await page.keyboard.press("Escape");
  await page.getByText("No token is revoked").waitFor();
});

test.skipIf(isBrowserMissing)(
  "shows each live query with its cost, and whether an index serves it",
  async () => {
    const { page } = await openConsole();
    await showView(page, "Live queries");
    const rows = table(page, "Live queries").getByRole("row");
    await expect.poll(() => rows.count(), PATIENCE).toBeGreaterThan(3);
    await page.getByLabel("Largest first by").selectOption("subscribers");
    await expect.poll(() => page.url(), PATIENCE).toContain("sort=subscribers");
    await page.getByLabel("Collection").fill("orders");
    await page.keyboard.press("Enter");
    await page
      .getByRole("button", { name: /orders$/ })
      .first()
      .click();
    const opened = dialog(page, "Live query");
    await opened.getByText("Effective filter").waitFor();
    await opened
      .getByText(/snapshot/i)
      .first()
      .waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await page.keyboard.press("Escape");
    expect(await tooNarrow(page)).toEqual([]);
    expect(await accessibilityFaults(page)).toEqual([]);
  },
);

const HOSTILE = `<img src=x onerror="document.title='hit'"><script>document.title='hit'</script>`;

test.skipIf(isBrowserMissing)("shows HTML in every field of a list and of its details as text", async () => {
  const { page } = await openConsole();
  const row = {
    id: `${"0".repeat(12)}.${"0".repeat(8)}-0000-0000-0000-${"0".repeat(12)}`,
    node: HOSTILE,
    sub: HOSTILE,
    address: HOSTILE,
    transport: HOSTILE,
    client: HOSTILE,
    connectedAt: null,
    subscriptions: 1,
    outboxBytes: 0,
    isBehind: false,
  };
  const subscription = {
    id: HOSTILE,
    collection: HOSTILE,
    rule: HOSTILE,
    liveQuery: HOSTILE,
    state: HOSTILE,
    lagCommits: 0,
  };
  const answers: Record<string, unknown> = {
    "**/api/v1/connections?*": { connections: [row], next: null },
    "**/api/v1/connections/*": { ...row, tokenExpiresAt: null, list: [subscription] },
    "**/api/v1/audit?*": {
      entries: [
        {
          id: "1",
          at: new Date(0).toISOString(),
          admin: HOSTILE,
          act: HOSTILE,
          target: { [HOSTILE]: HOSTILE },
          from: HOSTILE,
          node: HOSTILE,
        },
      ],
      next: null,
    },
    "**/api/v1/overview": { error: HOSTILE, code: "internal" },
  };
  for (const [url, body] of Object.entries(answers))
    await page.route(url, (route) => route.fulfill({ json: body }));
  await showView(page, "Connections");
  await page.getByRole("button", { name: HOSTILE }).click();
  await dialog(page, "Connection").getByRole("cell", { name: HOSTILE }).first().waitFor();
  await page.keyboard.press("Escape");
  await showView(page, "Audit");
  await table(page, "Acts").getByText(HOSTILE).first().waitFor();
  await showView(page, "Overview");
  await page.getByRole("alert").getByText(HOSTILE).waitFor();
  expect(await page.evaluate<number>("document.querySelectorAll('img, main script').length")).toBe(0);
  expect(await page.title()).toBe("Overview · Tidewire console");
});

test.skipIf(isBrowserMissing)("scrolls through 10,000 connections with few of them in the page", async () => {
  const { page } = await openConsole();
  const idOf = (at: number) =>
    `${"0".repeat(12)}.${String(at).padStart(8, "0")}-0000-0000-0000-${"0".repeat(12)}`;
  const rowOf = (at: number) => ({
    id: idOf(at),
    node: "n",
    sub: `user-${at}`,
    address: "127.0.0.1",
    transport: "ws",
    client: null,
    connectedAt: null,
    subscriptions: 1,
    outboxBytes: 0,
    isBehind: false,
  });
  await page.route("**/api/v1/connections?*", (route) => {
    const after = new URL(route.request().url()).searchParams.get("after");
    const from = after === null ? 0 : Number(after.slice(13, 21)) + 1;
    const rows = Array.from({ length: Math.min(200, 10_000 - from) }, (_, at) => rowOf(from + at));
    const next = from + 200 < 10_000 ? idOf(from + 199) : null;
    return route.fulfill({ json: { connections: rows, next } });
  });
  await showView(page, "Connections");
  const box = page.getByRole("region", { name: "Connections" });
  const toEnd = () =>
    page.evaluate("{ const box = document.querySelector('.data'); box.scrollTop = box.scrollHeight; }");
  const isAtEnd = async () => {
    await toEnd();
    return box.getByText("user-9999").isVisible();
  };
  await expect.poll(isAtEnd, PATIENCE).toBe(true);
  await page.getByText("10,000 connections").waitFor();
  expect(await box.getByRole("row").count()).toBeLessThan(80);
  expect(await table(page, "Connections").getAttribute("aria-rowcount")).toBe("10001");
});

test.skipIf(isBrowserMissing)("an admin without a role sees neither its views nor its acts", async () => {
  const { page } = await openConsole();
  await page.route("**/api/v1/session", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), roles: ["view"] } });
  });
  await page.reload();
  await showView(page, "Revocations");
  await page.getByText("No token is revoked").waitFor();
  expect(await page.getByRole("button", { name: "Revoke tokens …" }).count()).toBe(0);
  await showView(page, "Connections");
  await page.getByRole("button", { name: "ada" }).click();
  await dialog(page, "Connection").getByText("a token needs the role act").waitFor();
  expect(await page.getByRole("button", { name: "Disconnect" }).count()).toBe(0);
});

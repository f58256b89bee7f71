/** The demo's page as newcomers see it: the demo is a process of its own, the page is in a real browser. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { AxeResults } from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";
import { expect, test } from "vitest";
import { STATUSES } from "../../src/demo/order.ts";
import { VIEWERS } from "../../src/demo/viewers.ts";
import { RuleSetStore } from "../../src/source/rule-set-store.ts";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { ROOT } from "../support/build.ts";
import { editor, showView, write } from "../support/console.ts";
import { draftIn } from "../support/rules-console.ts";
import { startDemo } from "../support/running.ts";

const NAMES = ["Ada", "Ben", "Cleo"] as const;

const card = (page: Page, name: string) => page.getByRole("region", { name, exact: false });
const button = (page: Page, name: string) => page.getByRole("button", { name });
const standing = (page: Page, name: string, text: string) =>
  card(page, name).locator(".state", { hasText: text }).waitFor();
const verdict = (page: Page, name: string, text: string) =>
  card(page, name).locator(".verdict", { hasText: text }).waitFor();
const outcome = (page: Page, text: string) => page.locator("#rules-outcome", { hasText: text }).waitFor();
const setRate = (page: Page, rate: string) =>
  page.getByRole("radio", { name: rate, exact: true }).check({ force: true });

async function numberOf(page: Page, name: string, title: string): Promise<number> {
  const pair = card(page, name).locator("dl div", { hasText: title });
  return Number(await pair.locator("dd").textContent());
}

async function open(options?: BrowserContextOptions) {
  const started = await startDemo(["--rate", "10"]);
  const [, url = ""] = await started.demo.line(/in a browser: (\S+)/);
  const page = await openPage({ viewport: { width: 1360, height: 1000 }, ...options });
  await page.goto(url);
  for (const name of NAMES) await standing(page, name, "live");
  return { ...started, url, page };
}

/** The rows of a viewer's table: order, status and address of each row that has not just left. */
function shown(page: Page, viewer: string): Promise<string[]> {
  const fields = `["_id", "status", "address"].map((field) => row.querySelector("." + field).textContent).join(" ")`;
  return page.evaluate(
    `Array.from(document.querySelectorAll(".card.${viewer} tbody tr:not(.left)"), (row) => ${fields})`,
  );
}

/** Compares every table with the result of `find`, while nothing is written. */
async function expectAsFound({ page, db }: Awaited<ReturnType<typeof open>>): Promise<void> {
  await setRate(page, "Pause");
  for (const { name, visible } of VIEWERS) {
    const isEqual = async () => {
      const { filter, projection } = visible;
      const docs = await db.collection("orders").find(filter).project(projection).sort({ _id: -1 }).toArray();
      const found = docs.map(({ _id, status, address }) => `${_id} ${status} ${address}`);
      return JSON.stringify(await shown(page, name)) === JSON.stringify(found);
    };
    await expect.poll(isEqual, PATIENCE).toBe(true);
  }
  await setRate(page, "10");
}

/** Compares the numbers of each status with the server's own, while nothing is written. */
async function expectNumbers({ page, db }: Awaited<ReturnType<typeof open>>): Promise<void> {
  await setRate(page, "Pause");
  for (const { name, visible } of VIEWERS) {
    const isEqual = async () => {
      const orders = db.collection("orders");
      const found = await Promise.all(
        STATUSES.map(
          async (status) =>
            `${status} ${await orders.countDocuments({ $and: [visible.filter, { status }] })}`,
        ),
      );
      return (
        JSON.stringify(await card(page, capitalized(name)).locator(".numbers li").allTextContents()) ===
        JSON.stringify(found)
      );
    };
    await expect.poll(isEqual, PATIENCE).toBe(true);
  }
  await setRate(page, "10");
}

const capitalized = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

test.skipIf(isBrowserMissing)(
  "shows the board live; viewers catch up after a disconnection and after a kill of the service",
  async () => {
    const world = await open();
    const { page } = world;
    for (const style of ["entered", "changed", "left"])
      await page.locator(`.card.ada tr.${style}`).first().waitFor();
    await expectAsFound(world);
    await expectNumbers(world);

    await card(page, "Ben").getByRole("button", { name: "Disconnect" }).click();
    await standing(page, "Ben", "disconnected");
    const held = await shown(page, "ben");
    const before = await numberOf(page, "Ada", "changes");
    await expect.poll(() => numberOf(page, "Ada", "changes"), PATIENCE).toBeGreaterThan(before + 20);
    expect(await shown(page, "ben")).toEqual(held);
    // So that the log goes on showing the writes that Ben has missed.
    await setRate(page, "Pause");
    await card(page, "Ben").getByRole("button", { name: "Reconnect" }).click();
    await verdict(page, "Ben", "caught up; equals find");
    expect(await numberOf(page, "Ben", "resumed")).toBe(1);
    expect(await numberOf(page, "Ben", "caught up")).toBeGreaterThan(0);
    await page.locator("#log .late").first().waitFor();
    await setRate(page, "10");

    await button(page, "Kill the service").click();
    await page.getByText("ready again after").first().waitFor();
    for (const name of NAMES) await verdict(page, name, "caught up; equals find");
    expect(await numberOf(page, "Ben", "resumed")).toBe(2);
    await expectAsFound(world);
  },
);

test.skipIf(isBrowserMissing)(
  "rules that are edited on the page take effect on every view, and wrong ones on none",
  async () => {
    const { page, demo, client, name } = await open();
    const sets = new RuleSetStore(client.db(`${name}-state`));
    const inForce = async () => (await sets.history(1))[0]?.collections;
    const original = await readFile(join(ROOT, "config/demo.yaml"), "utf8");
    const margin = card(page, "Ben").getByRole("columnheader", { name: "Margin" });
    expect(await margin.count()).toBe(0);
    await button(page, "Ben sees the margin").click();
    await margin.waitFor();
    await outcome(page, "+   fields: { exclude: [ courier ] }");
    await outcome(page, "Caused by the rules: Ben:");
    await verdict(page, "Ben", "equals find");

    await button(page, "Ben has no access").click();
    await standing(page, "Ben", "no rule gives this user access");
    expect(await shown(page, "ben")).toEqual([]);
    await verdict(page, "Ben", "nothing is shown, as no rule allows it");
    expect(await inForce()).toContain("$ne: ben");
    await demo.line(/no rule gives ben access any more/);

    const editor = page.getByLabel("Rules of the collection orders");
    const good = await editor.inputValue();
    await editor.fill(good.replace("$in: [ admin ]", "$inn: [ admin ]"));
    await editor.press("Control+Enter");
    await outcome(page, 'line 3: the operator "$inn" is not supported');
    expect(await inForce()).not.toContain("$inn");

    await button(page, "Restore").click();
    await standing(page, "Ben", "live");
    await verdict(page, "Ben", "equals find");
    await margin.waitFor({ state: "detached" });
    // The configuration file in the package stays unchanged.
    expect(await readFile(join(ROOT, "config/demo.yaml"), "utf8")).toBe(original);
  },
);

/** In how many lines the numbers of each card are. */
const LINES_OF_NUMBERS = `Array.from(document.querySelectorAll(".numbers"), ({ children }) =>
  new Set(Array.from(children, (number) => number.getBoundingClientRect().top)).size)`;

test.skipIf(isBrowserMissing)("fits the width of a phone, a tablet and a laptop", async () => {
  const { page } = await open();
  await page.locator(".card.ada tr.entered").first().waitFor();
  for (const width of [390, 768, 1090, 1280, 1440]) {
    await page.setViewportSize({ width, height: 844 });
    expect(await page.evaluate<number>("document.documentElement.scrollWidth"), `${width}`).toBe(width);
    expect(await page.evaluate<number[]>(LINES_OF_NUMBERS), `${width}`).toEqual([1, 1, 1]);
  }
});

test.skipIf(isBrowserMissing)("lights a preset only while its rules are in force", async () => {
  const { page } = await open();
  const preset = button(page, "Ben sees the margin");
  const isOn = async () => (await preset.getAttribute("aria-pressed")) === "true";
  const editor = page.locator("#rules-text");
  const text = await editor.inputValue();
  await editor.fill(text.replace("exclude: [ margin, courier ]", "exclude: [ courier ]"));
  expect(await isOn()).toBe(false);
  await button(page, "Save").click();
  await expect.poll(isOn, PATIENCE).toBe(true);
  await editor.fill(text);
  expect(await isOn()).toBe(true);
  await button(page, "Save").click();
  await expect.poll(isOn, PATIENCE).toBe(false);
});

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** The faults that axe finds, once no colour is on its way to another one. */
async function violations(page: Page): Promise<string[]> {
  await expect.poll(() => page.evaluate<number>("document.getAnimations().length"), PATIENCE).toBe(0);
  const results = await page.evaluate<AxeResults>("axe.run()");
  return results.violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" ")}`,
  );
}

/** Until nothing moves and nothing is marked any more. */
const untilStill = (page: Page) =>
  expect.poll(() => page.locator("tr.entered, tr.changed, tr.left").count(), PATIENCE).toBe(0);

test.skipIf(isBrowserMissing)(
  "is usable by keyboard, readable in light and dark, and still where motion is not wanted",
  async () => {
    const { page } = await open({ reducedMotion: "reduce" });
    await page.evaluate(await readFile(AXE, "utf8"));
    const moving = () => page.evaluate<number>("document.getAnimations().length");
    await page.locator(".card.ada tr.entered").first().waitFor();
    expect(await moving()).toBe(0);
    await page.emulateMedia({ reducedMotion: "no-preference" });
    await expect.poll(moving, PATIENCE).toBeGreaterThan(0);

    // From the top: the pace, then the service, then each viewer's board and buttons.
    await page.locator("body").press("Tab");
    await page.keyboard.press("ArrowLeft");
    await expect
      .poll(() => page.getByRole("radio", { name: "3", exact: true }).isChecked(), PATIENCE)
      .toBe(true);
    for (const _ of ["kill", "board of Ada", "cut"]) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await standing(page, "Ada", "disconnected");
    await expect
      .poll(() => page.getByRole("status").first().textContent(), PATIENCE)
      .toBe("Ada is disconnected");
    await page.keyboard.press("Space");
    await standing(page, "Ada", "live");

    await setRate(page, "Pause");
    await card(page, "Cleo").getByRole("button", { name: "Disconnect" }).click();
    await button(page, "Ben has no access").click();
    await outcome(page, "Ben: access lost");
    await untilStill(page);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await violations(page), colorScheme).toEqual([]);
    }
  },
);

test.skipIf(isBrowserMissing)(
  "an edit that is applied in the console moves the views of the page, and a revert moves them back",
  async () => {
    const { page } = await open();
    const margin = card(page, "Ben").getByRole("columnheader", { name: "Margin" });
    const opened = page.context().waitForEvent("page");
    await page.getByRole("link", { name: "console" }).click();
    const admin = await opened;
    await showView(admin, "Rules");
    await admin.getByRole("button", { name: "Edit the rules in force" }).click();
    await editor(admin).waitFor();
    const text = await draftIn(admin);
    await write(admin, text.replace("exclude: [ margin, courier ]", "exclude: [ courier ]"));
    await admin.getByRole("button", { name: "Apply …" }).click();
    const dialog = admin.getByRole("dialog");
    await dialog.getByLabel("Reason, for the history").fill("Ben may see the margin");
    await dialog.getByRole("button", { name: "Apply", exact: true }).click();
    await dialog.getByText("Acknowledged by 1 of 1 node.").waitFor();
    await dialog.getByRole("button", { name: "Done" }).click();
    await margin.waitFor();
    await outcome(page, "was applied outside this panel and is in force");
    expect(await button(page, "Ben sees the margin").getAttribute("aria-pressed")).toBe("true");
    await verdict(page, "Ben", "equals find");

    await admin.getByRole("link", { name: "History" }).click();
    await admin.getByRole("button", { name: "Set 1" }).click();
    await dialog.getByRole("button", { name: "Revert to set 1 …" }).click();
    await dialog.getByRole("button", { name: "Revert", exact: true }).click();
    await dialog.getByText("Acknowledged by 1 of 1 node.").waitFor();
    await margin.waitFor({ state: "detached" });
    await verdict(page, "Ben", "equals find");
    // The panel goes on from the set of the console.
    await button(page, "Ben sees the margin").click();
    await margin.waitFor();
  },
);

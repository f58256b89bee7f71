/** The tab of presence in a real browser: a reload keeps it, and a copy of the tab has another one. */
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { isBrowserMissing, openPage } from "../support/browser.ts";
import { servePage } from "../support/page-server.ts";

const script = `
import { tabId } from "./src/client/presence/tab.ts";
document.getElementById("root").textContent = tabId() + " " + tabId();
`;

async function tabsOf(page: Page): Promise<string[]> {
  const text = await page.locator("#root", { hasText: " " }).textContent();
  return text?.split(" ") ?? [];
}

test.skipIf(isBrowserMissing)(
  "[3.5] a tab keeps its id over reloads and other pages, and a window that it opens has another",
  async () => {
    const url = await servePage({ script });
    const page = await openPage();
    await page.goto(url);
    const first = await tabsOf(page);
    expect(new Set(first).size).toBe(1);
    await page.reload();
    expect(await tabsOf(page)).toEqual(first);
    await page.goto(`${url}?other`);
    expect(await tabsOf(page)).toEqual(first);
    await page.goBack();
    expect(await tabsOf(page)).toEqual(first);

    // The browser copies the storage of the session, as it does when a user duplicates a tab.
    const opened = page.waitForEvent("popup");
    await page.evaluate(`void open(${JSON.stringify(url)})`);
    const copy = await opened;
    const second = await tabsOf(copy);
    expect(new Set([...first, ...second]).size).toBe(2);
    await Promise.all([page.reload(), copy.reload()]);
    expect(await tabsOf(page)).toEqual(first);
    expect(await tabsOf(copy)).toEqual(second);
  },
);

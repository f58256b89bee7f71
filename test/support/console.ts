/** The console of the demo's service in a real browser, and everything that the browser's policy forbade it. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";
import { expect, onTestFinished } from "vitest";
import { openPage } from "./browser.ts";
import { startDemo } from "./running.ts";

/** Starts the demo at a busy rate, and opens its console with the link that it prints. */
export async function openConsole(options: BrowserContextOptions = {}) {
  const started = await startDemo(["--rate", "20"]);
  const [, url = ""] = await started.demo.line(/console for admins: (\S+)/);
  const [, demoUrl = ""] = await started.demo.line(/in a browser: (\S+)/);
  const page = await openPage({ viewport: { width: 1440, height: 900 }, ...options });
  const violations: string[] = [];
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) violations.push(message.text());
  });
  onTestFinished(() => expect(violations).toEqual([]));
  await page.goto(url);
  await page.getByRole("navigation", { name: "Views" }).waitFor();
  const [, token = ""] = /#login=(\w+)/.exec(url) ?? [];
  const origin = new URL(url).origin;
  const post = async (path: string, body: object) =>
    fetch(`${new URL(demoUrl).origin}/demo/api/${path}`, {
      method: "POST",
      headers: { origin: new URL(demoUrl).origin, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const kill = async () => {
    await post("kill", {}).catch(() => {}); // the service may exit before its answer arrives
  };
  /** The demo writes nothing more, so that no order of the test is delivered or changes its customer. */
  const pause = async () => expect((await post("rate", { rate: 0 })).ok).toBe(true);
  return { ...started, page, origin, token, demoUrl, kill, pause };
}

/** Shows a view, and waits until it has its title. */
export async function showView(page: Page, title: string): Promise<void> {
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: title }).click();
  await page.getByRole("heading", { level: 1, name: title }).waitFor();
}

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** The faults that axe finds in the page as it is, in both color schemes. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(AXE, "utf8"));
  const faults: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const results = await page.evaluate<AxeResults>("axe.run()");
    for (const { id, nodes } of results.violations)
      faults.push(
        `${colorScheme} ${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`).join(" | ")}`,
      );
  }
  return faults;
}

/** The widths at which the page scrolls sideways, of a phone, a tablet, a small laptop and a desk. */
export async function tooNarrow(page: Page): Promise<number[]> {
  const found: number[] = [];
  for (const width of [390, 768, 1280, 1440]) {
    await page.setViewportSize({ width, height: 844 });
    if ((await page.evaluate<number>("document.documentElement.scrollWidth")) > width) found.push(width);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  return found;
}

/** The editor of the rules. */
export const editor = (page: Page) => page.locator(".cm-content");

/** Replaces the text by a paste, as a person does. (`fill` makes the browser insert styled elements.) */
export async function write(page: Page, text: string): Promise<void> {
  await editor(page).focus();
  await page.keyboard.press("Control+a");
  await page.evaluate(`{
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", ${JSON.stringify(text)});
    document.querySelector(".editor").shadowRoot.activeElement
      .dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }`);
}

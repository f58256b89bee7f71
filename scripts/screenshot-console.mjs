/**
 * Takes the pictures of the console that docs/console.md shows: of the console of a running demo.
 *   npm run build && npm run build:browser && node scripts/screenshot-console.mjs [directory]     (default: docs)
 * Needs Chromium; CHROMIUM says where, if not at /usr/bin/chromium.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { smallPicture } from "./page-pixels.mjs";

const root = new URL("..", import.meta.url).pathname;
const outdir = resolve(process.argv[2] ?? join(root, "docs"));
const directory = await mkdtemp(join(tmpdir(), "tidewire-screenshot-"));
const demo = spawn(process.execPath, [join(root, "dist/cli/main.js"), "demo", "--rate", "10"], {
  cwd: directory,
  stdio: ["ignore", "pipe", "inherit"],
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
try {
  const url = await new Promise((found) => {
    createInterface({ input: demo.stdout }).on("line", (line) => {
      const [, at] = /console for admins: (\S+)/.exec(line) ?? [];
      if (at !== undefined) found(at);
    });
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
  await page.goto(url);
  const nav = page.getByRole("navigation", { name: "Views" });
  await nav.getByRole("link", { name: "Rules" }).click();
  await page.getByRole("button", { name: "Edit the rules in force" }).click();
  const editor = page.locator(".cm-content");
  await editor.waitFor();
  const text = await page.evaluate(() => JSON.parse(sessionStorage.getItem("tidewire-console.draft")).text);
  const edited = text.replace("[ margin, courier ]", "[ courier ]").replace("[ ready, riding ]", "[ ready ]");
  if (edited === text) throw new Error("the rules of the demo are others: edit them here, too");
  await editor.fill(edited);
  await page.locator(".plan .serious").first().waitFor();
  await page.locator("h1").click();
  await take(page, "console-rules.png");

  // As high as the form with its choices, both outcomes and the documents.
  await page.setViewportSize({ width: 1280, height: 1720 });
  await nav.getByRole("link", { name: "Try" }).click();
  await page.getByLabel("User").fill('{ "sub": "ben" }');
  await page.getByLabel("Collection").fill("orders");
  await page.getByRole("button", { name: "Try", exact: true }).click();
  await page.locator(".document .new").first().waitFor();
  await take(page, "console-try.png");
  await page.setViewportSize({ width: 1280, height: 800 });

  await nav.getByRole("link", { name: "Trace" }).click();
  await page.getByLabel("User (sub)").fill("ben");
  await page.getByRole("button", { name: "Start the trace" }).click();
  const entries = page.getByRole("table", { name: "Entries" });
  await entries.getByText("changed", { exact: true }).nth(3).waitFor();
  await page.getByRole("button", { name: "Hold the list" }).click();
  await entries.getByRole("row").filter({ hasText: "changed" }).first().getByRole("button").click();
  await page.getByRole("dialog").getByText("Sent", { exact: true }).waitFor();
  await take(page, "console-trace.png");
  await page.keyboard.press("Escape");

  // The charts are worth a picture after some samples.
  await nav.getByRole("link", { name: "Overview" }).click();
  const samples = () => document.querySelectorAll(".chart canvas").length > 0;
  await page.waitForFunction(samples);
  const enough = async () => {
    const answer = await page.evaluate(async () => (await fetch("/api/v1/overview")).json());
    return answer.samples.length >= 14;
  };
  while (!(await enough())) await page.waitForResponse((response) => response.url().endsWith("/overview"));
  await page.emulateMedia({ colorScheme: "dark" });
  await take(page, "console-overview.png");
} finally {
  await browser.close();
  demo.kill("SIGTERM");
  await new Promise((ended) => demo.once("exit", ended));
  await rm(directory, { recursive: true, force: true });
}

async function take(page, name) {
  await page.mouse.move(0, 0);
  const png = await smallPicture(browser, await page.screenshot());
  await writeFile(join(outdir, name), png);
  console.log(`${name}: ${Math.round(png.length / 1_000)} kB`);
}

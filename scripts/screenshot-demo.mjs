/**
 * Takes the picture of the demo's page that README.md shows, light and dark: of the real thing, at work.
 *   npm run build && npm run build:browser && node scripts/screenshot-demo.mjs [directory]     (default: docs)
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
const demo = spawn(process.execPath, [join(root, "dist/cli/main.js"), "demo"], {
  cwd: directory,
  stdio: ["ignore", "pipe", "inherit"],
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
  ],
});
try {
  const url = await new Promise((found) => {
    createInterface({ input: demo.stdout }).on("line", (line) => {
      const [, at] = /in a browser: (\S+)/.exec(line) ?? [];
      if (at !== undefined) found(at);
    });
  });
  for (const colorScheme of ["light", "dark"]) await take(url, colorScheme);
} finally {
  await browser.close();
  demo.kill("SIGTERM");
  await new Promise((ended) => demo.once("exit", ended));
  await rm(directory, { recursive: true, force: true });
}

async function take(url, colorScheme) {
  // Marks without movement: a picture shows nothing half way.
  const reducedMotion = "reduce";
  const page = await browser.newPage({ viewport: { width: 1360, height: 1000 }, colorScheme, reducedMotion });
  await page.goto(url);
  const card = (name) => page.getByRole("region", { name });
  const changes = (name) => card(name).locator("dd").first();
  await page.getByRole("radio", { name: "10" }).check({ force: true });
  await page.waitForFunction((dd) => Number(dd.textContent) > 40, await changes("Ada").elementHandle());
  // Ben is away while the others see things happen, and comes back.
  await card("Ben").getByRole("button", { name: "Disconnect" }).click();
  const before = Number(await changes("Ada").textContent());
  await page.waitForFunction(
    ([dd, least]) => Number(dd.textContent) > least,
    [await changes("Ada").elementHandle(), before + 20],
  );
  await page.getByRole("radio", { name: "3", exact: true }).check({ force: true });
  await card("Ben").getByRole("button", { name: "Reconnect" }).click();
  await card("Ben").getByText("caught up; equals find at").waitFor();
  const presets = page.getByRole("group", { name: "Edits to try" });
  await presets.getByRole("button", { name: "Ben sees the margin" }).click();
  await page.getByText("In force after").waitFor();
  await presets.getByRole("button", { name: "Cleo sees every ride" }).click();
  await page.locator(".diff ins", { hasText: "filter:" }).waitFor();
  await card("Cleo").getByRole("button", { name: "Compare with find" }).click();
  await card("Cleo").getByText("equals find").waitFor();
  const marked = page.locator(".card.ada tr.entered, .card.ada tr.left");
  await marked.first().waitFor({ timeout: 60_000 });
  const file = join(outdir, colorScheme === "light" ? "demo.png" : "demo-dark.png");
  await page.mouse.move(0, 0);
  const png = await smallPicture(browser, await page.screenshot({ fullPage: true }));
  await writeFile(file, png);
  console.log(`${file}: ${Math.round(png.length / 1_000)} kB`);
  await page.getByRole("button", { name: "Restore" }).click();
  await page.getByText("In force after").waitFor();
  await page.close();
}

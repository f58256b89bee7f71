/** The console as admins see it: login, navigation, keyboard, and the files behind it. */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { isBrowserMissing, openPage } from "../support/browser.ts";
import { accessibilityFaults, openConsole, showView, tooNarrow } from "../support/console.ts";

test.skipIf(isBrowserMissing)(
  "logs in with the link of the demo or with a secret, and says what is wrong with another one",
  async () => {
    const { page, origin, token } = await openConsole();
    expect(page.url()).not.toContain(token);
    await page.getByText("view, act, edit, documents").waitFor();
    await page.getByRole("button", { name: "Log out" }).click();
    const secret = page.getByLabel("Admin token");
    await secret.fill("wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").getByText("This is no token of server.admin").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await secret.fill(token);
    await secret.press("Enter");
    await page.getByRole("navigation", { name: "Views" }).waitFor();
    // The session is in a cookie, so that a reload needs no secret.
    await page.reload();
    await page.getByRole("navigation", { name: "Views" }).waitFor();
    const stored = await page.evaluate<string>("JSON.stringify([{...localStorage}, {...sessionStorage}])");
    expect(stored).not.toContain(token);
    expect(await page.evaluate<string>("document.cookie")).toBe("");
    await page.goto(`${origin}/#/nowhere`);
    await page.getByText("There is no such view").waitFor();
  },
);

test.skipIf(isBrowserMissing)("a link of the demo's page opens the console", async () => {
  const { demoUrl } = await openConsole();
  const demo = await openPage();
  await demo.goto(demoUrl);
  const opened = demo.waitForEvent("popup");
  await demo.getByRole("link", { name: "console" }).click();
  await (await opened).getByRole("navigation", { name: "Views" }).waitFor();
});

test.skipIf(isBrowserMissing)("a link with another login asks before it replaces the session", async () => {
  const { page, origin, token } = await openConsole();
  const open = async (link: string) => {
    await page.goto("about:blank");
    await page.goto(`${origin}/#login=${link}`);
  };
  const views = page.getByRole("navigation", { name: "Views" });
  await open(token);
  await views.waitFor();
  await open("of-somebody-else");
  await page.getByRole("heading", { name: "Log in as another admin?" }).waitFor();
  expect(page.url()).not.toContain("somebody");
  expect(await accessibilityFaults(page)).toEqual([]);
  await page.getByRole("button", { name: "Stay logged in" }).click();
  await views.waitFor();
  // In the open tab, where the page is not loaded again.
  await page.evaluate("location.hash = '#login=of-a-third'");
  await page.getByRole("heading", { name: "Log in as another admin?" }).waitFor();
  expect(page.url()).not.toContain("third");
  await page.getByRole("button", { name: "Stay logged in" }).click();
  await views.waitFor();
  // Not a valid encoding, so that the text is the token.
  await open("%E0");
  await page.getByRole("button", { name: "Use the login of the link" }).click();
  await page.getByRole("alert").getByText("This is no token of server.admin").waitFor();
});

test.skipIf(isBrowserMissing)("is usable by keyboard alone, and lists its keys", async () => {
  const { page } = await openConsole();
  await page.goto(`${page.url().replace(/#.*/, "")}#/nowhere`);
  await page.getByText("There is no such view").waitFor();
  await page.keyboard.press("Tab");
  expect(await page.evaluate<string>("document.activeElement.textContent")).toBe("Skip to the content");
  await page.keyboard.press("Enter");
  expect(await page.evaluate<string>("document.activeElement.tagName")).toBe("MAIN");
  await page.keyboard.press("?");
  const keys = page.getByRole("dialog", { name: "Keys" });
  await keys.getByText("Go to Rules").waitFor();
  expect(await accessibilityFaults(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await keys.waitFor({ state: "hidden" });
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await page.getByRole("heading", { level: 1, name: "Rules" }).waitFor();
});

test.skipIf(isBrowserMissing)("keeps the color scheme that an admin chooses", async () => {
  const { page } = await openConsole({ colorScheme: "light" });
  const ground = () => page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
  const light = await ground();
  await page.getByRole("radio", { name: "Dark" }).check({ force: true });
  const dark = await ground();
  expect(dark).not.toBe(light);
  await page.reload();
  await page.getByRole("navigation", { name: "Views" }).waitFor();
  expect(await ground()).toBe(dark);
  await page.getByRole("radio", { name: "Auto" }).check({ force: true });
  expect(await ground()).toBe(light);
});

test.skipIf(isBrowserMissing)("fits the width of a phone, a tablet and a laptop", async () => {
  const { page } = await openConsole();
  await showView(page, "Rules");
  expect(await tooNarrow(page)).toEqual([]);
});

const FIRST_LOAD_BYTES_MAX = 250_000;

test.skipIf(isBrowserMissing)(
  "loads fewer than 250 kB first, runs no inline code, and lets browsers keep its assets",
  async () => {
    const { origin } = await openConsole();
    const page = await (await fetch(`${origin}/`)).text();
    expect(page).not.toMatch(/<style|style=|<script(?![^>]*src=)|\son\w+=/);
    const [wanted, bytes] = [new Set(page.match(/\/assets\/[\w.-]+/g)), [gzipSync(page).length]];
    for (const path of wanted) {
      const answer = await fetch(origin + path);
      expect([answer.status, answer.headers.get("cache-control")]).toEqual([
        200,
        expect.stringMatching(/immutable/),
      ]);
      const text = await answer.text();
      bytes.push(gzipSync(text).length);
      // The imports that a browser loads at once; `import("…")` waits until a view needs it.
      for (const [, name = ""] of text.matchAll(/(?:from|import)"\.\/([\w.-]+\.js)"/g))
        wanted.add(`/assets/${name}`);
    }
    const sum = bytes.reduce((total, one) => total + one, 0);
    expect(sum).toBeGreaterThan(10_000);
    expect(sum).toBeLessThan(FIRST_LOAD_BYTES_MAX);
    expect((await fetch(`${origin}/assets/none.js`)).status).toBe(404);
  },
);

/** Types mistakes into the editor of rules of the console, in a real Chromium, and times their marks. */
import { existsSync } from "node:fs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const isBrowserMissing = !existsSync(CHROMIUM);

const PATIENCE_MS = 120_000;

/** Characters of the first rule before a key that the page checks, and before an operator that only the node checks. */
const OPTION = { line: 5, column: "- name".length };
const OPERATOR = { line: 6, column: 'when: { "%%user.roles": { $in'.length };

/** Runs in the page: notes the next key, and when the mark and the effect appear that it causes. */
function watchEditor() {
  const root = document.querySelector(".editor").shadowRoot;
  const panel = document.querySelector(".plan");
  const times = {};
  const onKey = ({ timeStamp }) =>
    Object.assign(times, { keyMs: timeStamp, markMs: null, cleanMs: null, busyMs: null, effectMs: null });
  addEventListener("keydown", onKey, { capture: true });
  const lookAtEditor = () => {
    const isMarked = root.querySelector(".cm-lintRange-error") !== null;
    times[isMarked ? "markMs" : "cleanMs"] ??= performance.now();
  };
  const lookAtPanel = () => {
    const isBusy = panel.getAttribute("aria-busy") === "true";
    if (isBusy) times.busyMs ??= performance.now();
    else if (times.busyMs !== null) times.effectMs ??= performance.now();
  };
  const everything = { subtree: true, childList: true, attributes: true };
  new MutationObserver(lookAtEditor).observe(root, everything);
  new MutationObserver(lookAtPanel).observe(panel, everything);
  globalThis.benchTimes = times;
}

/**
 * Opens the rules in force in the editor, and makes each mistake so often.
 * @returns Milliseconds from the key: to the mark of the page itself, to that of the node, and to the effect of a draft without a mistake.
 */
export async function timeMarks({ adminUrl, secret, rounds }) {
  const { chromium } = await import("playwright-core");
  const args = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
  const browser = await chromium.launch({ executablePath: CHROMIUM, args });
  try {
    const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(`${adminUrl}/#login=${secret}`);
    await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Rules" }).click();
    await page.getByRole("button", { name: "Edit the rules in force" }).click();
    await page.locator(".cm-content").waitFor();
    await page.locator('.plan[aria-busy="false"]').waitFor();
    await page.evaluate(watchEditor);
    const found = { page: [], node: [], effect: [] };
    for (let round = 0; round < rounds; round++) {
      found.page.push(await mistake(page, OPTION));
      // The node may not have been asked about the mistake, and then has no news about the draft without it.
      await timeOf(page, "cleanMs");
      found.node.push(await mistake(page, OPERATOR));
      found.effect.push(await timeOf(page, "effectMs"));
    }
    return found;
  } finally {
    await browser.close();
  }
}

/** Types a character too many, waits for its mark, and takes it back. @returns The time of the mark. */
async function mistake(page, { line, column }) {
  await page.locator(".cm-content").focus();
  await page.keyboard.press("Control+Home");
  for (let i = 0; i < line; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Home");
  for (let i = 0; i < column; i++) await page.keyboard.press("ArrowRight");
  await page.keyboard.press("x");
  const markMs = await timeOf(page, "markMs");
  await page.keyboard.press("Backspace");
  return markMs;
}

async function timeOf(page, name) {
  const handle = await page.waitForFunction((name) => globalThis.benchTimes[name] !== null, name);
  await handle.dispose();
  return page.evaluate((name) => globalThis.benchTimes[name] - globalThis.benchTimes.keyMs, name);
}

/** The example of WebRTC in a real browser: three users, of whom two talk from page to page. */
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE, Wire } from "../support/browser.ts";
import { startExample } from "../support/example.ts";
import { signToken } from "../support/service.ts";
import { WsClient } from "../support/ws-client.ts";

/** As in the README of the example. */
const RULES = {
  presence: { rules: [{ name: "everybody" }] },
  collections: {
    presence: { rules: [{ name: "everybody" }] },
    signals: {
      rules: [{ name: "addressee", filter: { to: "%%user.sub" }, fields: { exclude: ["to", "at"] } }],
    },
  },
};

async function openUser(url: string, user: string) {
  const page = await openPage();
  const wire = new Wire(page);
  await page.goto(url.replace("user=ada", `user=${user}`));
  return { page, wire };
}

async function open() {
  const world = await startExample("webrtc", RULES);
  const ada = await openUser(world.url, "ada");
  const ben = await openUser(world.url, "ben");
  const cleo = await openUser(world.url, "cleo");
  const signals = world.db.collection("signals");
  return { ...world, ada, ben, cleo, signals };
}

const connected = (page: Page) => page.locator("#state", { hasText: "connected, peer to peer" }).waitFor();

async function say(from: Page, to: Page, text: string): Promise<void> {
  await from.getByLabel("Text").fill(text);
  await from.getByRole("button", { name: "Send", exact: true }).click();
  await to.getByRole("log").getByText(text, { exact: true }).waitFor();
}

test.skipIf(isBrowserMissing)(
  "two pages find each other by presence and talk directly; a third user receives none of their signals",
  async () => {
    const { service, proxy, signals, ada, ben, cleo } = await open();
    for (const name of ["ada", "ben"])
      await cleo.page.getByRole("button", { name: `Talk to ${name}` }).waitFor();
    // Somebody who follows every signal that the rules show.
    const spy = await WsClient.connect(`ws://127.0.0.1:${service.listening.port}/v1/ws`, {
      token: await signToken({ sub: "cleo" }),
    });
    for (const filter of [{}, { from: "ada" }, { n: { $gte: 0 } }])
      await spy.ask({ type: "subscribe", id: JSON.stringify(filter), collection: "signals", filter });
    await ada.page.getByRole("button", { name: "Talk to ben" }).click();
    await Promise.all([connected(ada.page), connected(ben.page)]);
    await say(ada.page, ben.page, "hello ben");
    await say(ben.page, ada.page, "hello ada");
    await ada.page.getByRole("button", { name: "Send a video" }).click();
    const width = () => ben.page.evaluate<number>('document.getElementById("other-video").videoWidth');
    await expect.poll(width, PATIENCE).toBeGreaterThan(0);

    // Each signal has arrived at its addressee, and is deleted then.
    await expect.poll(() => signals.countDocuments(), PATIENCE).toBe(0);
    expect(JSON.stringify(ben.wire.received("added"))).toContain("candidate");
    await spy.fence((await signals.db.admin().command({ ping: 1 }))["operationTime"]);
    for (const received of [cleo.wire.sockets.map((socket) => socket.received), spy.received])
      expect(JSON.stringify(received)).not.toMatch(/candidate|fromPeer|"sdp/);
    expect(JSON.stringify(ben.wire.received("added"))).not.toContain("hello");
    spy.socket.terminate();

    // Without the service the two still talk: no text passes through it.
    proxy.cut();
    await service.kill("SIGKILL");
    await say(ada.page, ben.page, "still here");
    await say(ben.page, ada.page, "me too");
  },
);

test.skipIf(isBrowserMissing)(
  "a page that is reloaded is connected again without a click, and one that is closed has left",
  async () => {
    const { ada, ben } = await open();
    await ben.page.getByRole("button", { name: "Talk to ada" }).click();
    await Promise.all([connected(ada.page), connected(ben.page)]);
    await say(ada.page, ben.page, "before");
    // Each side once: one of the two is the polite one.
    for (const [reloaded, other] of [
      [ben.page, ada.page],
      [ada.page, ben.page],
    ] as const) {
      await reloaded.reload();
      await Promise.all([connected(reloaded), connected(other)]);
      await say(reloaded, other, `after ${crypto.randomUUID()}`);
      await say(other, reloaded, `after ${crypto.randomUUID()}`);
    }
    await ben.page.goto("about:blank");
    await ada.page.locator("#state", { hasText: "has left" }).waitFor();
    expect(await ada.page.getByLabel("Text").isDisabled()).toBe(true);
  },
);

/** A real browser: Debian's Chromium, headless, driven by its own protocol. */
import { existsSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, onTestFinished } from "vitest";
import type { ClientMessage, ServerMessage } from "../../src/protocol/messages.ts";

/** The same browser without windows of its own, which cost more than the pages of many a test. */
const WITHOUT_WINDOWS = "/usr/bin/chromium-headless-shell";
const GIVEN = process.env["CHROMIUM"];
const WITH_WINDOWS = GIVEN ?? "/usr/bin/chromium";
const CHROMIUM = GIVEN === undefined && existsSync(WITHOUT_WINDOWS) ? WITHOUT_WINDOWS : WITH_WINDOWS;
/** It asks nobody but whom the test names. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Pages on one machine find each other by its own address, without names of the local network.
  "--disable-features=WebRtcHideLocalIpsWithMdns",
  "--allow-loopback-in-peer-connection",
];
/** Each look costs the browser as well, which has better things to do while a test waits for it. */
export const PATIENCE = { timeout: 60_000, interval: 100 };

/** Then the tests are skipped, and said to be; never in the CI. */
export const isBrowserMissing = !existsSync(CHROMIUM) && process.env["CI"] !== "true";
if (isBrowserMissing) {
  console.warn(
    `There is no Chromium at ${CHROMIUM}: the browser's tests are skipped. Install it, or set CHROMIUM.`,
  );
}

/** The same for tests that need the browser with windows. */
export const isFullBrowserMissing = !existsSync(WITH_WINDOWS) && process.env["CI"] !== "true";

let launched: Promise<Browser> | undefined;
/** The browser of this file. */
let executablePath = CHROMIUM;

/** For tests of what only the browser with windows has, such as notifications. To be called before the first page of a file. */
export function takeFullBrowser(): void {
  executablePath = WITH_WINDOWS;
}

afterAll(async () => {
  await (await launched)?.close();
});

/** A page of its own browser context, closed when the test has finished. Its errors fail the test. */
export async function openPage(options: BrowserContextOptions = {}): Promise<Page> {
  launched ??= chromium.launch({ executablePath, args: FLAGS });
  const context = await (await launched).newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE.timeout);
  const errors: Error[] = [];
  page.on("pageerror", (error) => errors.push(error));
  onTestFinished(async () => {
    await context.close();
    if (errors.length > 0) throw new AggregateError(errors, `errors in the page: ${errors.join("; ")}`);
  });
  return page;
}

/**
 * Stops the processes of all tabs, as a system does that wants their memory or has gone to sleep: no timer and no
 * event gets through, while sockets stay open in the browser's own process. (The feature that the browser's protocol calls
 * frozen needs a tab that is not in sight, and a driven one always is.)
 * @returns Lets them go on.
 */
export async function freezeTabs(): Promise<() => void> {
  const devtools = await (await launched)?.newBrowserCDPSession();
  const { processInfo = [] } = (await devtools?.send("SystemInfo.getProcessInfo")) ?? {};
  const tabs = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
  if (tabs.length === 0) throw new Error("there is no tab");
  const signal = (name: NodeJS.Signals) => {
    for (const pid of tabs) process.kill(pid, name);
  };
  let isFrozen = true;
  const thaw = () => {
    if (isFrozen) signal("SIGCONT");
    isFrozen = false;
  };
  onTestFinished(thaw);
  signal("SIGSTOP");
  return thaw;
}

/** The messages of a page's WebSockets, as the browser's own protocol reports them. */
export class Wire {
  /** Each with its messages, in the order in which they were opened. */
  readonly sockets: {
    readonly sent: ClientMessage[];
    readonly received: ServerMessage[];
    isOpen: boolean;
  }[] = [];

  constructor(page: Page) {
    page.on("websocket", (webSocket) => {
      const socket = { sent: [], received: [], isOpen: true } as (typeof this.sockets)[number];
      this.sockets.push(socket);
      webSocket.on("framesent", ({ payload }) => socket.sent.push(JSON.parse(String(payload))));
      webSocket.on("framereceived", ({ payload }) => socket.received.push(JSON.parse(String(payload))));
      webSocket.on("close", () => {
        socket.isOpen = false;
      });
    });
  }

  get open(): number {
    return this.sockets.filter(({ isOpen }) => isOpen).length;
  }

  /** The sent messages of one type, over all sockets. */
  sent<T extends ClientMessage["type"]>(type: T): Extract<ClientMessage, { type: T }>[] {
    return this.sockets.flatMap(({ sent }) => sent).filter((message) => message.type === type) as never; // just filtered
  }

  received<T extends ServerMessage["type"]>(type: T): Extract<ServerMessage, { type: T }>[] {
    return this.sockets
      .flatMap(({ received }) => received)
      .filter((message) => message.type === type) as never;
  }
}

import type { Link } from "./link.ts";
import type { SessionOptions } from "./session-options.ts";
import type { Tokens } from "./tokens.ts";
import {
  BROKEN,
  type Target,
  type Transport,
  type TransportEvents,
  type TransportKind,
} from "./transport.ts";
import { WsTransport } from "./ws-transport.ts";

/**
 * Gets a token and opens the transport of a link. Never rejects: any failure closes the link.
 * @param withNewToken The last token is no longer accepted.
 * @param isWanted Checked after each wait. If it returns `false`, nothing is opened.
 */
export async function openLink(
  link: Link,
  kind: TransportKind,
  tokens: Tokens,
  withNewToken: boolean,
  options: SessionOptions,
  isWanted: () => boolean,
  events: TransportEvents,
): Promise<void> {
  try {
    const token = await within(tokens.get(withNewToken), options.connectTimeoutMs).catch((cause: unknown) => {
      throw new Error(`the option \`token\` of createClient failed: ${textOf(cause)}`, { cause });
    });
    if (!isWanted()) return;
    link.gotToken();
    const target: Target = { ...options, token };
    if (kind === "ws") link.use(openWebSocket(target, events));
    else {
      // Few clients ever need the other transports, so bundlers put them into a file that only those clients fetch.
      const { HttpTransport } = await import("./http-transport.ts");
      if (isWanted()) link.use(new HttpTransport(kind, target, events));
    }
  } catch (cause) {
    // The token provider has failed, or the browser forbids the connection. The next attempt may succeed.
    events.closed(BROKEN, textOf(cause), cause);
  }
}

const textOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause));

/**
 * Opens a WebSocket.
 * @throws {TypeError} The runtime has no WebSocket.
 */
function openWebSocket(target: Target, events: TransportEvents): Transport {
  const { WebSocket } = target;
  if (WebSocket === undefined) throw new TypeError("no WebSocket: give one to createClient");
  return new WsTransport(WebSocket, target, events);
}

/**
 * Limits the wait for a promise.
 * @throws {Error} It has not settled in time.
 */
async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("no token arrived in time")), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

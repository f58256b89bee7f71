import type { Link } from "./link.ts";
import type { SessionOptions } from "./session-options.ts";
import type { Tokens } from "./tokens.ts";
import { BROKEN, type Target, type TransportEvents, type TransportKind } from "./transport.ts";
import { WsTransport } from "./ws-transport.ts";

/**
 * Gets a token and opens the transport of a link. Never rejects: any failure closes the link. If the link ends in the meantime,
 * nothing is opened.
 * @param withNewToken The last token is no longer accepted.
 */
export async function openLink(
  link: Link,
  kind: TransportKind,
  tokens: Tokens,
  withNewToken: boolean,
  options: SessionOptions,
  events: TransportEvents,
): Promise<void> {
  let subject = "the option `token` of createClient failed: ";
  const fail = (cause: unknown = new Error("no reason")) =>
    events.closed(BROKEN, subject + (cause instanceof Error ? cause.message : String(cause)), cause);
  const timer = setTimeout(() => fail(new Error("no token arrived in time")), options.connectTimeoutMs);
  try {
    const token = await tokens.get(withNewToken);
    clearTimeout(timer);
    if (link.hasEnded) return;
    link.hasToken = true;
    subject = "";
    const target: Target = { ...options, token };
    if (kind === "ws") link.transport = new WsTransport(target, events);
    else {
      const open = await options.choice?.load();
      if (open && !link.hasEnded) link.transport = open(kind, target, events);
    }
  } catch (cause) {
    // The token provider has failed, or the browser forbids the connection. The next attempt may succeed.
    fail(cause);
  } finally {
    clearTimeout(timer);
  }
}

/** Checks the options of `createClient`. A wrong option would otherwise only show as a client that never connects. */
import type { TokenProvider } from "./tokens.ts";
import { TRANSPORTS, type TransportKind, type WebSocketConstructor } from "./transport.ts";

/** The options of `createClient` that are checked. */
interface GivenOptions {
  readonly url: string | URL;
  readonly token?: TokenProvider;
  readonly transports?: readonly TransportKind[];
  readonly WebSocket?: WebSocketConstructor;
}

/** The options after the check. */
export interface CheckedOptions {
  /** With `http:` or `https:`, without a slash at the end. */
  readonly url: string;
  /** At least one, best first. */
  readonly transports: readonly TransportKind[];
  readonly WebSocket: WebSocketConstructor | undefined;
}

/**
 * Checks the options before anything connects.
 * @throws {TypeError} The message names the option and a correct value.
 */
export function checkOptions(options: GivenOptions): CheckedOptions {
  const { url, token, transports = TRANSPORTS }: Partial<GivenOptions> = options; // an application in JavaScript may pass anything
  const { WebSocket = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket } = options; // Node 20 has none
  if (token && typeof token !== "function")
    throw new TypeError("`token` is a function that returns the token");
  const usable = transports.filter((kind) => kind !== "ws" || WebSocket);
  if (usable.length === 0 || !usable.every((kind) => TRANSPORTS.includes(kind))) {
    const names = TRANSPORTS.join(", ");
    throw new TypeError(`\`transports\` has some of ${names} (ws needs a WebSocket), not [${transports}]`);
  }
  return { url: checkUrl(String(url ?? "")), transports: usable, WebSocket };
}

function checkUrl(text: string): string {
  if (!/^(http|ws)s?:\/\/[^\s?#]+$/i.test(text)) {
    throw new TypeError(
      `createClient needs a url such as https://live.example.com, without a query, not "${text}"`,
    );
  }
  return text.replace(/^ws/i, "http").replace(/\/+$/, "");
}

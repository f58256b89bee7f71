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
  const given: Partial<GivenOptions> | undefined = options; // an application in JavaScript may pass anything
  if (given?.token !== undefined && typeof given.token !== "function") {
    throw new TypeError("the option `token` of createClient is a function that returns the token");
  }
  const { WebSocket = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket } = options; // Node 20 has none
  const wanted = options.transports ?? TRANSPORTS;
  const unknown = wanted.find((kind) => !TRANSPORTS.includes(kind));
  const transports = wanted.filter((kind) => kind !== "ws" || WebSocket);
  if (unknown !== undefined || transports.length === 0) {
    const lack =
      wanted.length > 0 && unknown === undefined ? "; this runtime has no WebSocket: pass one" : "";
    const names = TRANSPORTS.join(", ");
    throw new TypeError(
      `the option \`transports\` of createClient takes some of ${names}, not [${wanted}]${lack}`,
    );
  }
  return { url: checkUrl(given?.url), transports, WebSocket };
}

function checkUrl(given: string | URL | undefined): string {
  const text = String(given ?? "");
  if (text === "") throw new TypeError("createClient needs a url, such as https://live.example.com");
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Reported below, together with URLs that are valid and useless.
  }
  if (url === undefined || !/^(http|ws)s?:$/.test(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new TypeError(
      `the url of createClient begins with https:, http:, wss: or ws: and has no query, such as https://live.example.com; it is ${text}`,
    );
  }
  return text.replace(/^ws/, "http").replace(/\/+$/, "");
}

import { UsageError } from "./command.ts";

/** Where a service listens that was started without a port of its own. */
export const DEFAULT_SERVICE_URL = "ws://127.0.0.1:8480";
const WS_PATH = "/v1/ws";

/**
 * Takes the URL of the service as people have it at hand: without a path, or of its HTTP side.
 * @returns The URL of its WebSocket.
 * @throws {UsageError}
 */
export function serviceUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^(ws|http)s?:$/.test(url.protocol)) {
    throw new UsageError(
      "--url takes the service's URL, such as ws://127.0.0.1:8480 or wss://live.example.com",
    );
  }
  url.protocol = url.protocol.replace("http", "ws");
  const path = url.pathname.replace(/\/+$/, "");
  url.pathname = path.endsWith(WS_PATH) ? path : path + WS_PATH;
  return url.href;
}

/** The URL that a client takes, from that of the WebSocket. */
export const withoutPath = (url: string): string => url.slice(0, -WS_PATH.length);

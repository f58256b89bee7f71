/** The negotiation of compression for WebSockets (RFC 7692, 7.1), the same for our own and for those of Socket.IO. */
import type { IncomingMessage } from "node:http";
import type { PerMessageDeflateOptions, WebSocket } from "ws";
import type { SharedCompression } from "../../feed/shared-compression.ts";

/**
 * The answer to an offer of compression. Without context in either direction, an idle connection keeps no compressor,
 * and a compressed message fits every connection.
 */
const SHARED: PerMessageDeflateOptions = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  // The full window of the format, with which all messages are compressed.
  serverMaxWindowBits: 15,
  // The libraries compress nothing themselves: a compressor would stay with the connection, and their messages hold
  // tickets.
  threshold: Number.MAX_SAFE_INTEGER,
};

/** The option `perMessageDeflate` of `ws`. */
export const deflateOptions = (compression: SharedCompression | null): PerMessageDeflateOptions | false =>
  compression === null ? false : SHARED;

/** An offer whose client can only decompress with a smaller window. */
const SMALL_WINDOW = /;\s*server_max_window_bits\s*=\s*"?(?:[89]|1[0-4])"?\s*(?:;|$)/;

/**
 * Declines the offers of clients that can only decompress with a smaller window. `ws` would refuse the whole handshake if
 * no other offer is left.
 */
export function declineSmallWindows({ headers }: IncomingMessage): void {
  const offers = headers["sec-websocket-extensions"]?.split(",");
  const acceptable = offers?.filter((offer) => !SMALL_WINDOW.test(offer));
  if (offers === undefined || acceptable?.length === offers.length) return;
  if (acceptable === undefined || acceptable.length === 0) delete headers["sec-websocket-extensions"];
  else headers["sec-websocket-extensions"] = acceptable.join(",").trim();
}

/** The extension of `ws`, of which its types say nothing. */
interface Extension {
  cleanup(): void;
}

/**
 * Frees the decompressor of a connection, to be called for each message. `ws` keeps it for the next message, which takes
 * 21 KiB for each connection of a browser, and browsers compress all that they send.
 */
export function freeInflater(ws: WebSocket): void {
  const { _extensions: extensions } = ws as unknown as { readonly _extensions?: Record<string, Extension> };
  extensions?.["permessage-deflate"]?.cleanup();
}

/** The compression that a client has agreed to; `null` if none. */
export const agreedCompression = (
  { extensions }: Pick<WebSocket, "extensions">,
  compression: SharedCompression | null,
): SharedCompression | null => (extensions.includes("permessage-deflate") ? compression : null);

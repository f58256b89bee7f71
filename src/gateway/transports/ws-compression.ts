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
};

/** The option `perMessageDeflate` of `ws`. */
export const deflateOptions = (compression: SharedCompression | null): PerMessageDeflateOptions | false =>
  compression === null ? false : SHARED;

/**
 * A client that can only decompress with a smaller window gets uncompressed messages. `ws` would refuse the whole
 * handshake.
 */
export function declineSmallWindows({ headers }: IncomingMessage): void {
  if (headers["sec-websocket-extensions"]?.includes("server_max_window_bits"))
    delete headers["sec-websocket-extensions"];
}

/** The compression that a client has agreed to; `null` if none. */
export const agreedCompression = (
  { extensions }: Pick<WebSocket, "extensions">,
  compression: SharedCompression | null,
): SharedCompression | null => (extensions.includes("permessage-deflate") ? compression : null);

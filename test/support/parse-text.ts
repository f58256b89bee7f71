import { readMessage } from "../../src/gateway/connection/incoming.ts";
import { checkMessage } from "../../src/gateway/connection/parse-message.ts";
import { GatewayLimits } from "../../src/gateway/limits.ts";
import type { ClientMessage } from "../../src/protocol/messages.ts";

export const DEFAULT_LIMITS = GatewayLimits.parse({});

/** Reads a text as the service reads a frame. @throws What the frame is refused with. */
export function parseText(text: string, limits = DEFAULT_LIMITS): ClientMessage {
  const message = readMessage(text, Buffer.byteLength(text), limits);
  if ("unread" in message) throw message.error;
  return checkMessage(message.fields);
}

import type { Part } from "../part.ts";
import { type FallbackOptions, TransportChoice } from "../transport-choice.ts";

export type { TransportKind } from "../transport.ts";
export type { FallbackOptions } from "../transport-choice.ts";

/** Server-sent events and long polling, for networks that break WebSockets. */
export const fallback = (options: FallbackOptions = {}): Part => ({
  fallback: (hasWebSocket) => new TransportChoice(options, hasWebSocket),
});

/**
 * Bounds the messages that slow clients keep while they wait for room. The log of a live query keeps those that fit into
 * its budget. Otherwise each slow client would keep the text of a large commit of its own.
 */
import { remembered } from "../match/remembered.ts";
import type { ValueMode } from "../protocol/messages.ts";
import type { Account } from "./account.ts";
import type { EncodedEntry } from "./change-log.ts";
import type { EncodedMessage } from "./chunk.ts";

const ALREADY_COUNTED = () => {};

const bytesIn = remembered((messages: readonly EncodedMessage[]) =>
  messages.reduce((bytes, { text }) => bytes + Buffer.byteLength(text), 0),
);

/**
 * Charges the messages of an entry to a user while a client waits for room for them.
 * @returns Ends the charge. `null` if the user has no room for them, so that they must be encoded again later, which is
 *   charged as work.
 */
export function chargeWaiting(
  { entry, messages }: EncodedEntry,
  mode: ValueMode,
  account: Account,
): (() => void) | null {
  if (entry.encoded?.[mode] === messages) return ALREADY_COUNTED;
  const bytes = bytesIn(messages);
  if (account.isOverWindows(bytes)) return null;
  account.growWindows(bytes);
  return () => account.growWindows(-bytes);
}

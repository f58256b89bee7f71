/** The form of messages in the state database. */
import { gunzipSync, gzipSync } from "node:zlib";
import { Binary } from "mongodb";
import type { SinkMessage } from "./target.ts";

/** A message in a document. */
export interface StoredMessage {
  readonly id: string;
  readonly key: string;
  /** The event as JSON; compressed if it is large, because a document of MongoDB has a limit of its own. */
  readonly event: string | Binary;
}

/** Larger events are compressed, in characters. */
const COMPRESS_FROM = 65_536;

/** Largest stored event, in bytes: less than a document of MongoDB may have. */
const STORED_MAX = 15 * 1_048_576;

/** Makes the form for the state database. */
export function toStored({ id, key, event }: SinkMessage): StoredMessage {
  const text = JSON.stringify(event);
  return { id, key, event: text.length < COMPRESS_FROM ? text : new Binary(gzipSync(text, { level: 1 })) };
}

/** Reads the form of the state database. */
export function fromStored({ id, key, event }: StoredMessage): SinkMessage {
  const text = typeof event === "string" ? event : gunzipSync(event.buffer).toString();
  return { id, key, event: JSON.parse(text) };
}

/** About the memory of a message, and its size in the spool before compression, in bytes. */
export const sizeOf = ({ key, event }: SinkMessage): number =>
  256 + key.length + JSON.stringify(event.data).length;

/** Whether the state database can hold the message. A document near MongoDB's own limit may not compress. */
export function isStorable(message: SinkMessage, size: number): boolean {
  if (size < STORED_MAX) return true;
  const { event } = toStored(message);
  return (typeof event === "string" ? event.length : event.length()) <= STORED_MAX;
}

/**
 * Cuts changes into chunks. A client that catches up reads at its own pace, so a chunk is the unit that its outbox must be
 * able to take.
 */
import type { Steps } from "../match/steps.ts";
import { UNKNOWN } from "./change.ts";
import { Chunk, type EncodedMessage } from "./chunk.ts";
import type { LogEntry } from "./log-entry.ts";

/**
 * The size at which chunks of catch-up are cut, in bytes. The smallest outbox then takes them one by one. A chunk of
 * several messages that is larger than the outbox would never be taken.
 */
const CHUNK_BYTES = 64 * 1_024;
/** Bytes that the number of the live query may add to a message (see `Chunk.numbered`). */
const NUMBER_BYTES = 8;

/** Whether so many messages fit into a chunk, whatever number the live query has on a connection. */
const fits = (messages: number, bytes: number, mostBytes: number): boolean =>
  bytes + NUMBER_BYTES * messages <= mostBytes;
/** The same for changes that are delivered live: most outboxes are empty, and each chunk costs each connection a write. */
export const LIVE_CHUNK_BYTES = 256 * 1_024;

/**
 * The progress of a catch-up: everything up to this entry, and the given number of messages of the entry after it, has
 * been written.
 */
export interface LogPosition {
  readonly after: number;
  readonly written: number;
}

/** The chunk to write next, and the position after it. */
export interface NextChunk extends LogPosition {
  readonly chunk: Chunk;
}

/** The next entry is too large to encode in one turn. The caller encodes it in steps and tries again. */
export interface LacksEncoding {
  readonly lacking: LogEntry;
}

/**
 * The next chunk of a log that begins after `position`; `unknown` if the changes are not known.
 * @param encode Returns `null` for an entry that must be encoded in steps.
 * @param mostBytes A larger chunk has one message.
 */
export function cutChunk(
  log: readonly LogEntry[],
  position: LogPosition,
  encode: (entry: LogEntry) => readonly EncodedMessage[] | null,
  mostBytes = CHUNK_BYTES,
): "nothing" | "unknown" | LacksEncoding | NextChunk {
  const messages: EncodedMessage[] = [];
  let size = 0;
  let { after } = position;
  for (const entry of log) {
    if (entry.changes === UNKNOWN) {
      if (messages.length === 0) return "unknown";
      break;
    }
    const encoded = encode(entry);
    if (encoded === null) {
      if (messages.length === 0) return { lacking: entry };
      break;
    }
    for (let index = after === position.after ? position.written : 0; index < encoded.length; index++) {
      const message = encoded[index] as EncodedMessage; // the loop keeps the index in range
      const bytes = Buffer.byteLength(message.text);
      // At least one message per chunk, however large, or the catch-up would never advance.
      if (messages.length > 0 && !fits(messages.length + 1, size + bytes, mostBytes)) {
        return { chunk: new Chunk(messages, size), after, written: index };
      }
      messages.push(message);
      size += bytes;
    }
    after = entry.seq;
  }
  return messages.length === 0 ? "nothing" : { chunk: new Chunk(messages, size), after, written: 0 };
}

/** Divides messages into chunks of the same size, with a pause after each. */
export function* toChunks(messages: readonly EncodedMessage[]): Steps<Chunk[]> {
  const chunks: Chunk[] = [];
  for (const chunk of eachChunk(messages)) {
    if (chunks.length > 0) yield;
    chunks.push(chunk);
  }
  return chunks;
}

/** The chunks of messages, each made when it is asked for. */
export function* eachChunk(messages: readonly EncodedMessage[]): Generator<Chunk, void> {
  let next: EncodedMessage[] = [];
  let size = 0;
  for (const message of messages) {
    const bytes = Buffer.byteLength(message.text);
    if (next.length > 0 && !fits(next.length + 1, size + bytes, CHUNK_BYTES)) {
      yield new Chunk(next, size);
      next = [];
      size = 0;
    }
    next.push(message);
    size += bytes;
  }
  if (next.length > 0) yield new Chunk(next, size);
}

/** Reads and writes the Redis stream that holds the tail. */

import { type RedisConnection, RedisError } from "./redis-connection.ts";
import {
  decodeEntry,
  type EncodedEntry,
  type EntryId,
  FIELDS,
  formatEntryId,
  parseEntryId,
  type TailEntry,
} from "./tail-entry.ts";

/** An entry with its id; `null` for one that is not of the format. */
export interface ReadEntry {
  readonly id: EntryId;
  readonly entry: TailEntry | null;
}

/**
 * Entries of one read. Each has at most a mebibyte of events (`PART_BYTES`), so that a read holds at most as much as one answer
 * of MongoDB, 16 MiB.
 */
export const READ_COUNT = 16;
/** How much later than the end of its wait a read may answer, in milliseconds. */
const READ_GRACE_MS = 500;
/** An abandoned tail is removed after this long, in seconds. */
const KEPT_SECONDS = 3_600;

/** Redis has refused an entry, because another process has appended a later one. */
export class StaleAppendError extends Error {
  override readonly name = "StaleAppendError";
}

/** One Redis stream. */
export class TailLog {
  readonly #connection: RedisConnection;
  readonly #key: string;

  constructor(connection: RedisConnection, key: string) {
    this.#connection = connection;
    this.#key = key;
  }

  get isOpen(): boolean {
    return this.#connection.isOpen;
  }

  close(): void {
    this.#connection.close();
  }

  async last(): Promise<ReadEntry | null> {
    return first(await this.#connection.command(["XREVRANGE", this.#key, "+", "-", "COUNT", "1"]));
  }

  async first(): Promise<ReadEntry | null> {
    return first(await this.#connection.command(["XRANGE", this.#key, "-", "+", "COUNT", "1"]));
  }

  /** Waits up to `blockMs` for entries after `id`. @returns None if none came. */
  async read(id: EntryId, blockMs: number): Promise<ReadEntry[]> {
    const block = String(Math.max(1, Math.round(blockMs)));
    const options = ["COUNT", String(READ_COUNT), "BLOCK", block, "STREAMS", this.#key, formatEntryId(id)];
    const reply = await this.#connection.command(["XREAD", ...options], blockMs + READ_GRACE_MS);
    if (reply === null) return [];
    const [stream] = reply as [[unknown, unknown]]; // of RESP 2, one stream was asked for
    return toEntries(stream[1]);
  }

  /**
   * Appends an entry.
   * @throws {StaleAppendError} A later entry exists.
   */
  async append(id: EntryId, { header, events }: EncodedEntry): Promise<void> {
    const fields = [FIELDS.header, header, FIELDS.events, events];
    try {
      await this.#connection.command(["XADD", this.#key, formatEntryId(id), ...fields]);
    } catch (error) {
      if (error instanceof RedisError && error.message.includes("equal or smaller"))
        throw new StaleAppendError("another process has appended a later entry");
      throw error;
    }
  }

  async length(): Promise<number> {
    return Number(await this.#connection.command(["XLEN", this.#key]));
  }

  async trimTo(length: number): Promise<void> {
    await this.#connection.command(["XTRIM", this.#key, "MAXLEN", String(length)]);
  }

  /** Lets Redis remove the tail after an hour, unless this is called again before. */
  async keep(): Promise<void> {
    await this.#connection.command(["EXPIRE", this.#key, String(KEPT_SECONDS)]);
  }

  async clear(): Promise<void> {
    await this.#connection.command(["DEL", this.#key]);
  }
}

function toEntries(reply: unknown): ReadEntry[] {
  return (reply as [Buffer, Buffer[]][]).map(([id, fields]) => {
    const value = (name: string) =>
      fields[fields.findIndex((field, at) => at % 2 === 0 && field.equals(Buffer.from(name))) + 1];
    const [header, events] = [value(FIELDS.header), value(FIELDS.events)];
    const entry = header === undefined || events === undefined ? null : decodeEntry(header, events);
    return { id: parseEntryId(id.toString("latin1")), entry };
  });
}

const first = (reply: unknown): ReadEntry | null => toEntries(reply)[0] ?? null;

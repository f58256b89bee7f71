/**
 * The form of the entries of the shared tail. An entry claims: these are all events of the change stream after cluster
 * time `from`, up to and including `to`. The claim is true for an entry of any leader, so a reader need not trust the
 * leader. It only checks that it has read up to `from`.
 */
import { BSON, Long, Timestamp } from "mongodb";
import { fromTimestamp } from "../cluster-time.ts";

/** An entry, or one part of an entry that is too large for one. */
export interface TailEntry {
  readonly from: bigint;
  readonly to: bigint;
  /** The number of this part, from 0. Parts follow each other immediately. */
  readonly part: number;
  readonly isLast: boolean;
  /** Resumes the change stream after this entry; absent if there is no such token. */
  readonly resumeToken: Uint8Array | undefined;
  /** MongoDB's time at which the leader read the events, in epoch milliseconds. */
  readonly readAtMs: number;
  /** Bytes of all entries up to this one, since the tail began. */
  readonly totalBytes: number;
  /** Raw change events; one slice of one event if `isCut`. */
  readonly events: readonly Buffer[];
  /** The event is larger than a part. This part and its neighbours contain slices of it, and nothing else. */
  readonly isCut: boolean;
}

/** The fields of an entry in Redis. */
export const FIELDS = { header: "h", events: "e" } as const;

/** Entries of another version of the format are not read. */
const VERSION = 2;

/** The values of the two fields. */
export interface EncodedEntry {
  readonly header: Buffer;
  readonly events: Buffer;
}

/** Makes the values of the two fields. */
export function encodeEntry(entry: TailEntry): EncodedEntry {
  const header = BSON.serialize({
    v: VERSION,
    from: new Timestamp(entry.from),
    to: new Timestamp(entry.to),
    part: entry.part,
    last: entry.isLast,
    cut: entry.isCut,
    at: Long.fromNumber(entry.readAtMs),
    total: Long.fromNumber(entry.totalBytes),
    ...(entry.resumeToken === undefined ? {} : { token: entry.resumeToken }),
  });
  return { header: Buffer.from(header), events: Buffer.concat(entry.events) };
}

/** Reads the two fields; `null` if they are not an entry of this format. */
export function decodeEntry(header: Uint8Array, events: Buffer): TailEntry | null {
  try {
    const { v, from, to, part, last, cut, at, total, token } = BSON.deserialize(header, {
      promoteBuffers: true,
    });
    if (v !== VERSION) return null;
    const split = cut === true ? [events] : splitDocuments(events);
    if (split === null) return null;
    return {
      from: fromTimestamp(from),
      to: fromTimestamp(to),
      part,
      isLast: last,
      isCut: cut,
      readAtMs: Number(at),
      totalBytes: Number(total),
      resumeToken: token === undefined ? undefined : new Uint8Array(token),
      events: split,
    };
  } catch {
    return null; // another program wrote to the key
  }
}

/** The shortest BSON document, in bytes. */
const DOCUMENT_BYTES_MIN = 5;

function splitDocuments(bytes: Buffer): Buffer[] | null {
  const documents: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = at + DOCUMENT_BYTES_MIN <= bytes.length ? bytes.readInt32LE(at) : 0;
    if (length < DOCUMENT_BYTES_MIN || at + length > bytes.length) return null;
    documents.push(bytes.subarray(at, at + length));
    at += length;
  }
  return documents;
}

/** An id of a Redis stream: the cluster time, and the number of entries of that time before. */
export interface EntryId {
  readonly clusterTime: bigint;
  readonly index: bigint;
}

export const formatEntryId = ({ clusterTime, index }: EntryId): string => `${clusterTime}-${index}`;

/** @throws {Error} The text is no id of Redis. */
export function parseEntryId(text: string): EntryId {
  const [, clusterTime = "", index = ""] = /^(\d+)-(\d+)$/.exec(text) ?? [];
  if (index === "") throw new Error("an id that is not one of a Redis stream");
  return { clusterTime: BigInt(clusterTime), index: BigInt(index) };
}

const INDEX_MAX = 2n ** 64n - 1n;

/** The greatest id before all entries of `clusterTime`. */
export const idBefore = (clusterTime: bigint): EntryId => ({
  clusterTime: clusterTime - 1n,
  index: INDEX_MAX,
});

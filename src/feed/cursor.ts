/**
 * Cursors: the opaque form of positions for clients. A client can store a cursor and return it to any node, but it must
 * not be able to read it, to invent one, or to learn from two of them how much was written in between.
 */
import { createCipheriv, createDecipheriv, hash, randomBytes } from "node:crypto";
import { secondsOf } from "../source/cluster-time.ts";
import type { Epoch } from "../source/epoch-store.ts";

/**
 * A point in the deployment's order of commits. `within` distinguishes points of one cluster time: `BEFORE` all of its
 * commits, `AFTER` all of them, or just after the commit with this tag.
 */
export interface Position {
  readonly clusterTime: bigint;
  readonly within: number;
  /** Only of a hidden cursor: when it was made, in epoch milliseconds. Hidden cursors are compared by this alone. */
  readonly issuedMs?: number;
}

/** `within` of a position before all commits of its cluster time. */
export const BEFORE = 0;
/** `within` of a position after all commits of its cluster time. */
export const AFTER = 0xffff_ffff;

/** The position of a cursor, or why it has none: the cursor is not genuine, or belongs to another epoch. */
export type DecodedCursor = Position | "invalid" | "other-epoch";

/** A position, and the cursor that clients receive for it. */
export interface PublishedPosition {
  readonly position: Position;
  readonly cursor: string;
}

const EPOCH_BYTES = 4;
const BLOCK_BYTES = 16;
const CURSOR_BYTES = EPOCH_BYTES + BLOCK_BYTES;
const NONCE_BYTES = 12;
const POSITION_BYTES = 20;
const TAG_BYTES = 16;
const HIDDEN_BYTES = EPOCH_BYTES + NONCE_BYTES + POSITION_BYTES + TAG_BYTES;
const MARK = 0x7469_6465;
/** How many decoded cursors are kept. */
const KNOWN_MAX = 256;

/** The epoch that a cursor names, whether or not the cursor is genuine. */
export const epochOf = (cursor: string): string =>
  Buffer.from(cursor, "base64url").toString("hex", 0, EPOCH_BYTES);

/**
 * Whether `a` is certainly later than `b` within one cluster time. The tags of two commits of one cluster time do not
 * show their order.
 */
function isLaterWithin(a: Position, b: Position): boolean {
  if (a.clusterTime !== b.clusterTime) return false;
  return b.within === BEFORE ? a.within !== BEFORE : a.within === AFTER && b.within !== AFTER;
}

/** Whether `a` is certainly later than `b`. */
export const isLater = (a: Position, b: Position): boolean =>
  a.clusterTime > b.clusterTime || isLaterWithin(a, b);

/**
 * Whether a client that received the change at a position has received everything up to a cluster time, as far as it
 * may know: the time of the change itself, or a time in an earlier second. Comparing within a second would reveal how
 * many writes came in between.
 */
export function coversForClients({ clusterTime, within }: Position, wanted: bigint): boolean {
  if (within === BEFORE || within === AFTER) return false;
  return clusterTime === wanted || secondsOf(clusterTime) > secondsOf(wanted);
}

/**
 * Encodes positions as cursors: the epoch unencrypted, the rest as one AES block under the epoch's key. A cursor is
 * opaque, because a cluster time would show when a write happened that the client may not see. It cannot be invented.
 * Unless it is hidden, it is the same string on every node.
 */
export class CursorCodec {
  readonly epoch: string;
  readonly #key: string;
  readonly #hidingKey: Buffer;
  readonly #cipher: ReturnType<typeof createCipheriv>;
  readonly #decipher: ReturnType<typeof createDecipheriv>;
  /** Reused buffers. One pair is enough, because encoding never waits. */
  readonly #cursor = Buffer.alloc(CURSOR_BYTES);
  readonly #block = Buffer.alloc(BLOCK_BYTES);
  /** Genuine cursors that were decoded. Clients that return together often come from the same positions. */
  readonly #known = new Map<string, PublishedPosition>();

  constructor(epoch: Epoch) {
    this.epoch = epoch.id;
    this.#key = Buffer.from(epoch.cursorKey).toString("hex");
    this.#hidingKey = Buffer.from(hash("sha256", `hidden cursor ${this.#key}`, "hex"), "hex").subarray(0, 16);
    this.#cursor.write(epoch.id, 0, EPOCH_BYTES, "hex");
    this.#block.writeUInt32BE(MARK, 0);
    // The input is a single block, so ECB has no pattern to leak, and one cipher object can be reused for ever.
    this.#cipher = createCipheriv("aes-128-ecb", epoch.cursorKey, null).setAutoPadding(false);
    this.#decipher = createDecipheriv("aes-128-ecb", epoch.cursorKey, null).setAutoPadding(false);
  }

  /** The exact cursor of a position, equal on every node. */
  encode({ clusterTime, within }: Position): string {
    this.#block.writeBigUInt64BE(clusterTime, 4);
    this.#block.writeUInt32BE(within, 12);
    this.#cursor.set(this.#cipher.update(this.#block), EPOCH_BYTES);
    return this.#cursor.toString("base64url");
  }

  /**
   * Encodes a position to which a client may return without recognizing it. Each result is a different string
   * (AES-128-GCM with a random nonce), so two of them do not show whether anything was written in between.
   */
  encodeHidden({ clusterTime, within }: Position, issuedMs: number): string {
    const plain = Buffer.alloc(POSITION_BYTES);
    plain.writeBigUInt64BE(clusterTime, 0);
    plain.writeUInt32BE(within, 8);
    plain.writeBigUInt64BE(BigInt(Math.floor(issuedMs)), 12);
    const epoch = Buffer.from(this.epoch, "hex");
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-128-gcm", this.#hidingKey, nonce).setAAD(epoch);
    const parts = [epoch, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()];
    return Buffer.concat(parts).toString("base64url");
  }

  /** Decodes a cursor. Never throws, because cursors come from clients. */
  decode(cursor: string): DecodedCursor {
    const known = this.#known.get(cursor);
    if (known !== undefined) return known.position;
    const position = this.#decode(cursor);
    if (typeof position === "string") return position;
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.set(cursor, { position, cursor });
    return position;
  }

  /** The position of a cursor, as one object for all clients at it; `null` if the cursor has none. */
  published(cursor: string): PublishedPosition | null {
    const position = this.decode(cursor);
    return typeof position === "string" ? null : (this.#known.get(cursor) ?? { position, cursor });
  }

  #decode(cursor: string): DecodedCursor {
    const bytes = Buffer.from(cursor, "base64url");
    const isOfOurs = bytes.length === CURSOR_BYTES || bytes.length === HIDDEN_BYTES;
    // Re-encoding refuses other spellings of the same bytes.
    if (!isOfOurs || bytes.toString("base64url") !== cursor) return "invalid";
    if (bytes.toString("hex", 0, EPOCH_BYTES) !== this.epoch) return "other-epoch";
    if (bytes.length === HIDDEN_BYTES) return this.#decodeHidden(bytes);
    const block = this.#decipher.update(bytes.subarray(EPOCH_BYTES));
    if (block.readUInt32BE(0) !== MARK) return "invalid";
    return { clusterTime: block.readBigUInt64BE(4), within: block.readUInt32BE(12) };
  }

  #decodeHidden(bytes: Buffer): DecodedCursor {
    const nonceEnd = EPOCH_BYTES + NONCE_BYTES;
    const options = { authTagLength: TAG_BYTES };
    const decipher = createDecipheriv(
      "aes-128-gcm",
      this.#hidingKey,
      bytes.subarray(EPOCH_BYTES, nonceEnd),
      options,
    );
    decipher.setAAD(bytes.subarray(0, EPOCH_BYTES)).setAuthTag(bytes.subarray(-TAG_BYTES));
    const plain = decipher.update(bytes.subarray(nonceEnd, -TAG_BYTES));
    try {
      decipher.final();
    } catch {
      return "invalid"; // altered or invented; the client receives the same answer for both
    }
    const issuedMs = Number(plain.readBigUInt64BE(12));
    return { clusterTime: plain.readBigUInt64BE(0), within: plain.readUInt32BE(8), issuedMs };
  }

  /**
   * The tag of a commit, never `BEFORE` or `AFTER`. It is keyed, because the identity may contain an `_id`. It is only
   * visible inside the encrypted block, so a plain hash suffices, which costs a quarter of an HMAC for each change.
   */
  tag(identity: string): number {
    const digest = hash("sha256", this.#key + identity);
    return (Number.parseInt(digest.slice(0, 8), 16) % (AFTER - 1)) + 1;
  }
}

/**
 * Reads answers of cursor commands without decoding the documents in them. Most documents are compared and forwarded as
 * bytes, and decoding would also lose types that JavaScript cannot represent.
 */
import { BSON, type Document, type Long, type Timestamp } from "mongodb";

/** The answer of a command that opens or reads a cursor. Its documents stay bytes. */
export interface RawAnswer {
  readonly documents: Buffer[];
  /** 0 if no batch follows. */
  readonly cursorId: bigint;
  readonly postBatchToken: Uint8Array | undefined;
  /** The cluster time of a snapshot read; `null` if the server reports none. */
  readonly atClusterTime: bigint | null;
}

/**
 * Options of a command whose answer `readRawAnswer` reads: only the documents stay bytes. `raw: true` would leave every
 * sub-document raw, including the `topologyVersion` of an error; the driver (7.9) then throws in its monitor, where no
 * caller can catch it. The text of an error may quote a document that is not valid UTF-8. Validation would hide the
 * server's error behind an error of the BSON library.
 */
export const RAW = { fieldsAsRaw: { firstBatch: true, nextBatch: true }, enableUtf8Validation: false };

/** The part of an answer that describes its cursor, in the form that the driver returns under `RAW`. */
interface CursorOfAnswer {
  readonly id: Long | number;
  readonly firstBatch?: readonly Buffer[];
  readonly nextBatch?: readonly Buffer[];
  readonly postBatchResumeToken?: Document;
  readonly atClusterTime?: Timestamp;
}

/** Reads the answer of a command that was sent with `RAW`. */
export function readRawAnswer(answer: Document): RawAnswer {
  const { id, firstBatch, nextBatch, postBatchResumeToken, atClusterTime } = answer[
    "cursor"
  ] as CursorOfAnswer; // the driver decodes it to this form under `RAW`
  return {
    documents: (firstBatch ?? nextBatch ?? []).map(toBuffer),
    cursorId: BigInt(id.toString()),
    // The token consists of a string and bytes alone, so serializing it again restores the original bytes.
    postBatchToken: postBatchResumeToken === undefined ? undefined : BSON.serialize(postBatchResumeToken),
    atClusterTime: atClusterTime === undefined ? null : atClusterTime.toBigInt(),
  };
}

const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

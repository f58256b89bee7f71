import { BSON, type Document, type Long, type Timestamp } from "mongodb";

/** The answer of a command that opens or reads a cursor; its documents are left as bytes. */
export interface RawAnswer {
  readonly documents: Buffer[];
  /** 0 when nothing follows. */
  readonly cursorId: bigint;
  readonly postBatchToken: Uint8Array | undefined;
  /** The cluster time of a snapshot read; `null` where the server tells none. */
  readonly atClusterTime: bigint | null;
}

/**
 * Options of a command whose answer `readRawAnswer` reads: only the documents are left as bytes. `raw: true` would leave
 * every sub-document so, also the `topologyVersion` of an error; the driver then fails in its monitor, where nobody can
 * catch it. An error's text may quote what a document holds, also what is not UTF-8: checked, it would hide the server's
 * error behind one of the BSON library's.
 */
export const RAW = { fieldsAsRaw: { firstBatch: true, nextBatch: true }, enableUtf8Validation: false };

/** The part of an answer that describes its cursor, as the driver gives it under `RAW`. */
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
  ] as CursorOfAnswer; // by `RAW`
  return {
    documents: (firstBatch ?? nextBatch ?? []).map(toBuffer),
    cursorId: BigInt(id.toString()),
    // The server made it of a string and bytes alone, so that the same bytes come out again.
    postBatchToken: postBatchResumeToken === undefined ? undefined : BSON.serialize(postBatchResumeToken),
    atClusterTime: atClusterTime === undefined ? null : atClusterTime.toBigInt(),
  };
}

const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

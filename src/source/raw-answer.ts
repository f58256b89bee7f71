import type { Document } from "mongodb";
import { forEachElement } from "./change-event.ts";

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
 * Options of a command whose answer `readRawAnswer` reads. An error's text may quote what a document holds, also what
 * is not UTF-8: checked, it would hide the server's error behind one of the BSON library's.
 */
export const RAW = { raw: true, enableUtf8Validation: false } as const;

const TYPE_TIMESTAMP = 17;

/** Reads the answer of a command that was sent with `RAW`, which leaves sub-documents as bytes. */
export function readRawAnswer(answer: Document): RawAnswer {
  const bytes = answer["cursor"] as Uint8Array; // by `RAW`
  const cursor = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const documents: Buffer[] = [];
  let cursorId = 0n;
  let postBatchToken: Uint8Array | undefined;
  let atClusterTime: bigint | null = null;
  forEachElement(cursor, (name, type, start, end) => {
    if (name === "id") cursorId = cursor.readBigInt64LE(start);
    else if (name === "postBatchResumeToken") postBatchToken = cursor.subarray(start, end);
    else if (name === "atClusterTime" && type === TYPE_TIMESTAMP)
      atClusterTime = cursor.readBigUInt64LE(start);
    else if (name === "firstBatch" || name === "nextBatch") {
      const batch = cursor.subarray(start, end);
      forEachElement(batch, (_index, _type, from, to) => documents.push(batch.subarray(from, to)));
    }
  });
  return { documents, cursorId, postBatchToken, atClusterTime };
}

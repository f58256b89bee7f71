import { Long } from "mongodb";
import { answerOf, clientOf, type MongoAccess } from "./mongo.ts";
import type { Namespace } from "./preflight.ts";
import { RAW, readRawAnswer } from "./raw-answer.ts";

/** How much later than `maxTimeMs` the server's own answer may arrive, in milliseconds. */
const LATENCY_MS = 10_000;

/** The size of a sample. */
interface SampleLimits {
  readonly documents: number;
  /** How long the server may work, in milliseconds. */
  readonly maxTimeMs: number;
}

/**
 * Reads some documents at random. The server's batch bounds them to about 16 MB; the documents after it are not read.
 * @throws The server's error.
 */
export async function sampleDocuments(
  access: MongoAccess,
  { database, collection }: Namespace,
  { documents: size, maxTimeMs }: SampleLimits,
): Promise<Buffer[]> {
  const client = clientOf(access);
  const session = client.startSession({ causalConsistency: false });
  const command = (fields: Record<string, unknown>) =>
    answerOf(access, () => client.db(database).command(fields, { session, ...RAW }), {
      pinned: client,
      timeoutMs: maxTimeMs + LATENCY_MS,
    });
  try {
    const answer = await command({
      aggregate: collection,
      pipeline: [{ $sample: { size } }],
      cursor: { batchSize: size },
      maxTimeMS: maxTimeMs,
      allowDiskUse: false,
    });
    const { documents, cursorId } = readRawAnswer(answer);
    if (cursorId !== 0n)
      await command({ killCursors: collection, cursors: [Long.fromBigInt(cursorId)] }).catch(() => {}); // the server removes idle cursors
    return documents;
  } finally {
    session.endSession().catch(() => {}); // the server removes idle sessions by itself
  }
}

/**
 * Supplies images that the change stream did not carry. Live queries decide from the documents before and after a
 * write, and MongoDB cannot promise both: images may be off, expired, or too large. Reading at the cluster time of the
 * write gives the same documents, because MongoDB keeps the history of its data for some minutes.
 */
import { type Document, type MongoClient, MongoServerError } from "mongodb";
import {
  type ChangeEvent,
  type Commit,
  forEachElement,
  hasImages,
  isChangeEvent,
  type StreamEvent,
} from "./change-event.ts";
import { toTimestamp } from "./cluster-time.ts";
import { answerOf, isMongoFailure, type MongoAccess } from "./mongo.ts";
import { RAW, readRawAnswer } from "./raw-answer.ts";
import { rawField } from "./raw-field.ts";
import type { CommitBatch } from "./read-commits.ts";

/**
 * SnapshotTooOld and SnapshotUnavailable: the server cannot read at that time any more, or never could (capped
 * collections).
 */
const UNREADABLE = new Set([239, 246]);

/** The most commits whose documents are read at the same time. */
const CONCURRENCY = 16;

/** The change stream waits for each read, and a read by `_id` takes milliseconds. In milliseconds. */
const READ_TIMEOUT_MS = 10_000;

/** The first and the last event of one document within one commit. */
interface Touched {
  readonly first: ChangeEvent;
  last: ChangeEvent;
}

/**
 * Adds missing documents to change events: where images are off or have expired, where a collection was created again,
 * and where they were too large for the stream. A pre-image is read just before the cluster time of the commit, a
 * post-image at it. Both are exact, without any memory of the results that clients hold. An event whose documents
 * cannot be read stays without them, and its live queries start over.
 */
export class ImageFiller {
  readonly #client: MongoAccess;
  readonly #onFilled: (namespace: string) => void;
  readonly #withoutPreImages: ReadonlySet<string>;

  /**
   * @param onFilled Called for each event that lacked an image and has it now.
   * @param withoutPreImages Namespaces whose pre-images nothing uses, so that missing ones are not read.
   */
  constructor(
    client: MongoAccess,
    onFilled: (namespace: string) => void,
    withoutPreImages: ReadonlySet<string> = new Set(),
  ) {
    this.#client = client;
    this.#onFilled = onFilled;
    this.#withoutPreImages = withoutPreImages;
  }

  /** The batch with all its images. Usually nothing is missing, and the same batch is returned. */
  async fill(batch: CommitBatch): Promise<CommitBatch> {
    const lacking = batch.commits.filter(({ events }) =>
      events.some((event) => isChangeEvent(event) && !this.#isComplete(event)),
    );
    if (lacking.length === 0) return batch;
    const filled = new Map<Commit, Commit>();
    const next = lacking.values();
    const work = async () => {
      for (const commit of next) filled.set(commit, await this.#fillCommit(commit));
    };
    // Several workers share one iterator, so each commit is filled once and at most `CONCURRENCY` reads run.
    await Promise.all(Array.from({ length: Math.min(CONCURRENCY, lacking.length) }, work));
    return { ...batch, commits: batch.commits.map((commit) => filled.get(commit) ?? commit) };
  }

  #isComplete(event: ChangeEvent): boolean {
    if (hasImages(event)) return true;
    if (!this.#withoutPreImages.has(event.namespace)) return false;
    return event.operation === "delete" || event.after !== undefined;
  }

  async #fillCommit(commit: Commit): Promise<Commit> {
    const events: StreamEvent[] = [];
    try {
      for (const touched of touchedDocuments(commit.events)) {
        const event = "last" in touched ? await this.#fillEvent(touched, commit.clusterTime) : touched;
        if (event !== null) events.push(event);
      }
    } catch (error) {
      // Only errors that MongoDB may not repeat are retried by the caller. Retrying any other one would stop the stream
      // here for ever.
      if (isMongoFailure(error) && !(error instanceof MongoServerError && UNREADABLE.has(Number(error.code))))
        throw error;
      return commit;
    }
    const { clusterTime, identity, bytes, wallTimeMs } = commit;
    return { events, clusterTime, identity, bytes, wallTimeMs };
  }

  async #fillEvent({ first, last }: Touched, clusterTime: bigint): Promise<ChangeEvent | null> {
    if (first === last && this.#isComplete(first)) return first;
    this.#onFilled(first.namespace);
    const inserted = first.operation === "insert";
    const before = inserted ? undefined : (first.before ?? (await this.#read(first, clusterTime - 1n)));
    const deleted = last.operation === "delete";
    const after = deleted ? undefined : (last.after ?? (await this.#read(last, clusterTime)));
    if (inserted && deleted) return null; // created and deleted within one transaction: nobody ever saw it
    // The document must have existed at that time. If it is not found, the collection has been replaced since.
    if ((before === undefined && !inserted) || (after === undefined && !deleted)) return last;
    const operation = inserted ? "insert" : deleted ? "delete" : "update";
    const { namespace, documentKey } = last;
    return { operation: first === last ? last.operation : operation, namespace, documentKey, before, after };
  }

  /** Reads the document as it was at a cluster time. */
  async #read({ namespace, documentKey }: ChangeEvent, clusterTime: bigint): Promise<Uint8Array | undefined> {
    const dot = namespace.indexOf(".");
    const command = {
      find: namespace.slice(dot + 1),
      filter: { _id: equalToId(documentKey) },
      limit: 1,
      singleBatch: true,
      readConcern: { level: "snapshot", atClusterTime: toTimestamp(clusterTime) },
    };
    const find = (client: MongoClient) => client.db(namespace.slice(0, dot)).command(command, RAW);
    // The read uses the collection's own collation, because only that one can use the index of `_id`, in which `_id` is
    // unique. It may find a document whose `_id` is merely equal under the collation. That is another document, so the
    // bytes are compared.
    const [found] = readRawAnswer(
      await answerOf(this.#client, find, { timeoutMs: READ_TIMEOUT_MS }),
    ).documents;
    return found !== undefined && hasId(found, documentKey) ? found : undefined;
  }
}

/** Type and bytes of the `_id` in a document or a document key. */
function idOf(document: Uint8Array): { readonly type: number; readonly bytes: Buffer } {
  const all = Buffer.from(document.buffer, document.byteOffset, document.byteLength);
  let id: { type: number; bytes: Buffer } | undefined;
  forEachElement(all, (name, type, start, end) => {
    if (name === "_id") id ??= { type, bytes: all.subarray(start, end) };
  });
  if (id === undefined) throw new TypeError("a document without _id came from MongoDB");
  return id;
}

function hasId(document: Uint8Array, documentKey: Uint8Array): boolean {
  const [found, wanted] = [idOf(document), idOf(documentKey)];
  return found.type === wanted.type && found.bytes.equals(wanted.bytes);
}

/** The condition that `_id` equals that of a document key. */
function equalToId(documentKey: Uint8Array): Document {
  const { type, bytes } = idOf(documentKey);
  return rawField("$eq", bytes, type);
}

/**
 * The documents of a commit, in the order of their first events. Nothing can be read between two writes of one
 * transaction, so all its writes to a document become one change.
 */
function touchedDocuments(events: readonly StreamEvent[]): (Touched | StreamEvent)[] {
  const byKey = new Map<string, Touched>();
  const touched: (Touched | StreamEvent)[] = [];
  for (const event of events) {
    if (!isChangeEvent(event)) {
      touched.push(event);
      continue;
    }
    const key = `${event.namespace} ${Buffer.from(event.documentKey).toString("base64")}`;
    const known = byKey.get(key);
    if (known !== undefined) {
      known.last = event;
      continue;
    }
    const document = { first: event, last: event };
    byKey.set(key, document);
    touched.push(document);
  }
  return touched;
}

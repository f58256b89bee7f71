/** Makes CloudEvents from the messages of a live query. */
import { createHash, randomBytes } from "node:crypto";
import type { CloudEventV1 } from "cloudevents";
import type { SinkMessage } from "./target.ts";

/** The changes of one sink, and their place in the order of commits. */
export interface MessageSource {
  readonly sink: string;
  readonly collection: string;
  /** Whether the documents are rows of an aggregate. */
  readonly isAggregate: boolean;
  /** The time of a cursor, in epoch milliseconds; `null` for a cursor that has none. */
  readonly timeOf: (cursor: string) => number | null;
}

/** A change as the protocol has it, without the number of its live query. */
interface Change {
  readonly type: string;
  readonly cursor: string;
  readonly cause?: string;
  readonly doc?: { readonly _id?: unknown };
  readonly _id?: unknown;
}

/** 128 bits are enough to tell the documents of one commit apart, and short enough for the header of a request. */
const ID_BYTES = 16;
/** 72 random bits tell the makers of one sink apart. */
const MAKER_BYTES = 9;

/**
 * Makes the messages of one sink. One commit may change a document more than once, so it counts within a commit. The rows of
 * an aggregate are numbered instead, because their messages combine commits, and another node may combine others.
 */
export class MessageMaker {
  readonly #source: MessageSource;
  #cursor = "";
  /** How often each document has occurred since `#cursor` changed. */
  readonly #occurrences = new Map<string, number>();
  /** Part of the ids of rows, so that no other maker gives the same id to another content. */
  readonly #name = randomBytes(MAKER_BYTES).toString("base64url");
  #rows = 0;

  constructor(source: MessageSource) {
    this.#source = source;
  }

  /** The messages of one encoded message of the live query: one for a change, any number for a part of a snapshot. */
  make(text: string): SinkMessage[] {
    const { query: _query, ...message } = JSON.parse(text);
    if (message.type !== "snapshot") return [this.#toMessage(message)];
    const { cursor, docs } = message;
    return docs.map((doc: object) => this.#toMessage({ type: "added", cursor, cause: "snapshot", doc }));
  }

  #toMessage(data: Change): SinkMessage {
    const { sink, collection, timeOf } = this.#source;
    const documentId = data.doc === undefined ? data._id : data.doc._id;
    const key = JSON.stringify(documentId ?? null);
    const id = this.#idOf(data.cursor, key);
    const timeMs = timeOf(data.cursor);
    const event: CloudEventV1<unknown> = {
      specversion: "1.0",
      id,
      source: `/tidewire/${sink}`,
      type: `tidewire.${collection}.${data.type}`,
      // A string without its quotes, because most receivers compare the subject with an id of their own.
      subject: typeof documentId === "string" && documentId !== "" ? documentId : key,
      ...(timeMs === null ? {} : { time: new Date(timeMs).toISOString() }),
      datacontenttype: "application/json",
      data,
    };
    return { id, key, event };
  }

  /**
   * The commit position and the `_id`. The cursor of a commit is the same string on every node. A row has an id that is
   * never used again: a receiver that drops repetitions must not drop a later state of the row.
   */
  #idOf(cursor: string, key: string): string {
    const document = createHash("sha256").update(key).digest().subarray(0, ID_BYTES).toString("base64url");
    if (this.#source.isAggregate) return `${cursor}.${document}.${this.#name}-${this.#rows++}`;
    if (cursor !== this.#cursor) {
      this.#cursor = cursor;
      this.#occurrences.clear();
    }
    const before = this.#occurrences.get(document) ?? 0;
    this.#occurrences.set(document, before + 1);
    return before === 0 ? `${cursor}.${document}` : `${cursor}.${document}.${before}`;
  }
}

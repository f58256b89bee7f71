/**
 * The number of the live query in every message as it is encoded. Each connection counts its own live queries from 1, so
 * that a number does not tell whether somebody else follows the same one; `Chunk.numbered` puts theirs in.
 */
export const ENCODED_QUERY = 1;

/** One encoded message on its way to a client, with what the transports need to know of it. */
export interface EncodedMessage {
  readonly type: string;
  /** The message as JSON text; it begins with `type` and `query` (see `headOf`). */
  readonly text: string;
  /** The cursor it bears, for `Last-Event-ID` and polls; none in messages without one. */
  readonly cursor: string | undefined;
  /** The next message continues this one: a client may not stop here and resume from the cursor. */
  readonly partial?: boolean;
}

/**
 * Messages that are written together. One chunk is shared by every connection that gets it, and so is what a
 * transport makes of it: `wire` is built once, by the first.
 */
export class Chunk {
  /** The same chunk under other numbers. Held weakly: connections that are served in one turn share it, and then it goes. */
  #numbered: Map<number, WeakRef<Chunk>> | undefined;
  readonly messages: readonly EncodedMessage[];
  /** Size of the texts, in bytes of UTF-8. */
  readonly size: number;
  wire: Buffer | undefined;

  constructor(messages: readonly EncodedMessage[]) {
    this.messages = messages;
    let size = 0;
    for (const message of messages) size += Buffer.byteLength(message.text);
    this.size = size;
  }

  /** Where a client goes on after it, if it says so. */
  get cursor(): string | undefined {
    return this.messages[this.messages.length - 1]?.cursor;
  }

  /** The same messages for a connection that follows the live query under this number. */
  numbered(query: number): Chunk {
    if (query === ENCODED_QUERY) return this;
    const known = this.#numbered?.get(query)?.deref();
    if (known !== undefined) return known;
    const made = new Chunk(this.messages.map((message) => renumbered(message, query)));
    this.#numbered ??= new Map();
    if (this.#numbered.size >= NUMBERS_MAX) this.#numbered.clear();
    this.#numbered.set(query, new WeakRef(made));
    return made;
  }
}

/** So many numbers are remembered for one chunk; a few serve most connections. */
const NUMBERS_MAX = 64;

/** The beginning of every message that is encoded once for many. */
export const headOf = (type: string, query = ENCODED_QUERY): string => `{"type":"${type}","query":${query},`;

function renumbered(message: EncodedMessage, query: number): EncodedMessage {
  const { type, text } = message;
  return { ...message, text: headOf(type, query) + text.slice(headOf(type).length) };
}

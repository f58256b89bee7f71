/**
 * The unit that the feed delivers and transports write. One chunk is shared by all connections that receive it, so the
 * cost of encoding and framing a change does not grow with the number of subscribers.
 */
/**
 * The number of the live query in every encoded message. Each connection numbers its own live queries from 1, so that a
 * number does not reveal whether other clients follow the same one. `Chunk.numbered` replaces the number for
 * connections with another one.
 */
export const ENCODED_QUERY = 1;

/** One encoded message for a client, with the facts that transports need about it. */
export interface EncodedMessage {
  readonly type: string;
  /** The message as JSON text. It begins with `type` and `query` (see `headOf`). */
  readonly text: string;
  /** The cursor in the message, for `Last-Event-ID` and polls; `undefined` if it has none. */
  readonly cursor: string | undefined;
  /** Whether the next message continues this one. A client must not resume from this cursor. */
  readonly partial?: boolean;
}

/** The end of an empty block that is stored: its length and the length inverted (RFC 1951, 3.2.4). */
export const EMPTY_BLOCK_REST = Buffer.from([0, 0, 0xff, 0xff]);

/** The messages of a chunk without their heads, compressed for everybody (see `SharedCompression`). */
export interface Deflated {
  /**
   * One for each message; `null` where the message is sent as it is. The last block of each is empty and lacks
   * `EMPTY_BLOCK_REST`, as RFC 7692, 7.2.1 has it.
   */
  readonly rests: readonly (Buffer | null)[];
  /** Size of them all, in bytes. */
  readonly bytes: number;
}

/**
 * Messages that are written together. Every connection that receives the chunk shares it, together with its wire form:
 * the first transport that needs `wire` builds it.
 */
export class Chunk {
  /**
   * The same chunk with other numbers. The references are weak: connections that are served in one turn share a copy,
   * and after that it can be collected.
   */
  #numbered: Map<number, WeakRef<Chunk>> | undefined;
  readonly messages: readonly EncodedMessage[];
  /** Size of the texts, in bytes of UTF-8. */
  readonly size: number;
  wire: Buffer | undefined;
  /** As `wire`, for connections that take compressed messages. */
  deflatedWire: Buffer | undefined;
  /** Of the chunk that this one was numbered from: the compressed parts are the same under each number. */
  deflated: Deflated | undefined;
  readonly #base: Chunk | undefined;

  /** @param size Where it is known already: to count the bytes of a text that was joined takes as long as to write it. */
  constructor(messages: readonly EncodedMessage[], size = sizeOf(messages), base?: Chunk) {
    this.messages = messages;
    this.size = size;
    this.#base = base;
  }

  /** The chunk as it was encoded. */
  get base(): Chunk {
    return this.#base ?? this;
  }

  /** The cursor from which a client resumes after this chunk. */
  get cursor(): string | undefined {
    return this.messages[this.messages.length - 1]?.cursor;
  }

  /** The same messages for a connection on which the live query has this number. */
  numbered(query: number): Chunk {
    if (query === ENCODED_QUERY) return this;
    const known = this.#numbered?.get(query)?.deref();
    if (known !== undefined) return known;
    const added = `${query}`.length - `${ENCODED_QUERY}`.length;
    const messages = this.messages.map((message) => renumbered(message, query));
    const made = new Chunk(messages, this.size + added * messages.length, this);
    this.#numbered ??= new Map();
    // Starting over keeps the map small. A number that is still in use is renumbered once more.
    if (this.#numbered.size >= NUMBERS_MAX) this.#numbered.clear();
    this.#numbered.set(query, new WeakRef(made));
    return made;
  }
}

function sizeOf(messages: readonly EncodedMessage[]): number {
  let size = 0;
  for (const message of messages) size += Buffer.byteLength(message.text);
  return size;
}

/** How many numbers one chunk remembers. Most connections use a few small ones. */
const NUMBERS_MAX = 64;

/** The beginning of every message that is encoded once for many connections. */
export const headOf = (type: string, query = ENCODED_QUERY): string => `{"type":"${type}","query":${query},`;

function renumbered(message: EncodedMessage, query: number): EncodedMessage {
  const { type, text } = message;
  return { ...message, text: headOf(type, query) + text.slice(headOf(type).length) };
}

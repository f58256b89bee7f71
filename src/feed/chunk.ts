/** One encoded message on its way to a client, with what the transports need to know of it. */
export interface EncodedMessage {
  readonly type: string;
  /** The message as JSON text. */
  readonly text: string;
  /** The cursor it bears, for `Last-Event-ID` and polls; none in messages without one. */
  readonly cursor: string | undefined;
  /** What belongs together goes on in the next message: one may not stop here and go on from the cursor. */
  readonly partial?: boolean;
}

/**
 * Messages that are written together. One chunk is shared by every connection that gets it, and so is what a
 * transport makes of it: `wire` is built once, by the first.
 */
export class Chunk {
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
}

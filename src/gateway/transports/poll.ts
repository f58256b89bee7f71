/**
 * Long polling, for clients behind proxies that break everything else. An answer must end at a point from which the
 * next poll can resume, so the transport waits for the end of a commit or a snapshot before it ends.
 */
import type { Chunk } from "../../feed/chunk.ts";
import type { SharedCompression } from "../../feed/shared-compression.ts";
import type { CloseCode } from "../../protocol/close-codes.ts";
import type { ErrorMessage, ServerMessage, SubscribedMessage } from "../../protocol/messages.ts";
import type { Transport } from "../connection/transport.ts";
import { GzipAnswer } from "./gzip-answer.ts";
import { type HttpExchange, NOT_SERVED, refusalIn, willPass } from "./http-exchange.ts";
import { headIn } from "./ws-frames.ts";

/** The part of a poll request on which its answer depends. */
export interface PollOptions {
  /** Whether a snapshot precedes the changes. */
  readonly wantsSnapshot: boolean;
  /** An answer of this size, in bytes, ends with the current message. */
  readonly limitBytes: number;
  /** Called when the subscription is active. From then on the client's `wait` counts. */
  readonly onSubscribed: () => void;
  /** `null` if the client takes no answer in gzip. */
  readonly compression: SharedCompression | null;
}

/** One message of the answer. */
interface Part {
  readonly text: string;
  /** Everything behind the first `headSize` characters, compressed for all clients. */
  readonly shared?: { readonly headSize: number; readonly rest: Buffer };
}

const HEADERS = { "Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store" };

/**
 * One long poll: an answer that is written as its messages arrive, and ended at the first suitable moment. Suitable is
 * every moment in which nothing is half sent: after the last batch of a snapshot, and between commits. The memory for a
 * slow client is bounded by its outbox, however large a snapshot is.
 */
export class PollTransport implements Transport {
  readonly kind = "poll";
  /** The parts of the answer, once it has begun in gzip. */
  #gzip: GzipAnswer | null = null;
  readonly #exchange: HttpExchange;
  readonly #options: PollOptions;
  /** `full`: later messages are not sent. The next poll receives them. */
  #state: "pending" | "open" | "full" | "over" = "pending";
  #start = "";
  #ticket = "";
  /** The cursor from which the client continues. */
  #cursor = "";
  #messages = 0;
  #bytes = 0;
  /** Nothing is half sent, so the answer may end here. */
  #isWhole = false;
  /** All missed changes were sent. */
  #isCaughtUp = false;
  /** The client has waited long enough. */
  #isDue = false;
  #isEnding = false;

  constructor(exchange: HttpExchange, options: PollOptions) {
    this.#exchange = exchange;
    this.#options = options;
  }

  get compression(): SharedCompression | null {
    return this.#options.compression;
  }

  get bufferedBytes(): number {
    return this.#exchange.bufferedBytes;
  }

  get takenBytes(): number {
    return this.#exchange.takenBytes;
  }

  write(chunk: Chunk): void {
    if (this.#state !== "open") return;
    const deflated = this.compression?.of(chunk);
    const parts: Part[] = [];
    for (const [index, { type, text, cursor, partial }] of chunk.messages.entries()) {
      const rest = deflated?.rests[index] ?? null;
      parts.push(
        rest === null ? { text } : { text, shared: { headSize: headIn(chunk, index).length, rest } },
      );
      this.#bytes += Buffer.byteLength(text);
      this.#isWhole = partial !== true;
      if (this.#isWhole && cursor !== undefined) this.#cursor = cursor;
      if (this.#isWhole && type === "snapshot") this.#isCaughtUp = true;
      // Only between complete commits: the cursor of the answer must cover everything in it, and nothing else.
      if (this.#isWhole && this.#bytes >= this.#options.limitBytes) {
        this.#state = "full";
        break;
      }
    }
    this.#append(parts);
    this.#settle();
  }

  send(message: ServerMessage): void {
    if (message.type === "draining") this.#leaveWithin(message.withinMs);
    else if (this.#state === "pending") this.#begin(message);
    else if (this.#state === "open") this.#goOn(message);
  }

  /** The client has waited as long as it wanted. */
  due(): void {
    this.#isDue = true;
    this.#settle();
  }

  flushed(): Promise<void> {
    return this.#exchange.flushed();
  }

  ping(): boolean {
    return false;
  }

  pong(): void {}

  pause(): void {}

  resume(): void {}

  close(_code: CloseCode, _reason: string): void {
    if (this.#state !== "over") {
      if (this.#isWhole) this.#finish();
      else if (!this.#exchange.hasBegun) this.#refuse(NOT_SERVED);
      else this.terminate(); // a truncated answer cannot be mistaken for a complete one
    }
    this.#exchange.cutOffSoon();
  }

  terminate(): void {
    this.#state = "over";
    this.#exchange.destroy();
  }

  #begin(message: ServerMessage): void {
    const refusal = refusalIn(message);
    if (refusal !== null) this.#refuse(refusal);
    else if (message.type === "subscribed") this.#subscribed(message);
  }

  #goOn(message: ServerMessage): void {
    switch (message.type) {
      case "subscribed":
        this.#resubscribed(message);
        break;
      case "watermark":
        this.#cursor = message.cursor;
        this.#isWhole = true;
        this.#isCaughtUp = true;
        this.#settle();
        break;
      case "reset":
        this.#ticket = message.ticket;
        this.#isWhole = false;
        this.#append([{ text: JSON.stringify(message) }]);
        break;
      case "tickets":
        // A poll has one subscription.
        for (const ticket of Object.values(message.tickets)) this.#ticket = ticket;
        break;
      case "unsubscribed":
        this.#append([{ text: JSON.stringify(message) }]);
        this.#finish();
        break;
      case "error":
        this.#failed(message);
        break;
      default: // the next answer contains everything that `welcome` and similar messages do
    }
  }

  #subscribed({ start, reason, cursor, ticket }: SubscribedMessage): void {
    this.#state = "open";
    this.#start = `"start":"${start}"${reason === undefined ? "" : `,"reason":"${reason}"`}`;
    this.#ticket = ticket;
    const startsEmpty = (start === "snapshot" || start === "reset") && this.#options.wantsSnapshot;
    if (!startsEmpty) {
      this.#cursor = cursor;
      this.#isWhole = true;
      this.#isCaughtUp = start !== "resumed";
    }
    this.#options.onSubscribed();
    // The gap itself is news that the client should receive at once.
    if (start === "reset" && !startsEmpty) this.due();
  }

  #failed(error: ErrorMessage): void {
    if (this.#exchange.hasBegun) this.#append([{ text: JSON.stringify(error) }]);
    // A client that has only waited can continue on another node.
    else if (this.#isWhole && willPass(error)) this.#finish();
    else this.#refuse(error);
  }

  /** The rights have changed. If the answer has not begun, the next poll shows the change by its own `start`. */
  #resubscribed(message: SubscribedMessage): void {
    if (this.#isWhole) {
      this.#finish();
      return;
    }
    this.#ticket = message.ticket;
    this.#append([{ text: JSON.stringify(message) }]);
  }

  #append(parts: readonly Part[]): void {
    if (parts.length === 0) return;
    const isFirst = !this.#exchange.hasBegun;
    if (isFirst) this.#beginAnswer(parts);
    const before = this.#messages === 0 ? `{${this.#start},"messages":[` : ",";
    this.#messages += parts.length;
    const gzip = this.#gzip;
    if (gzip === null) {
      this.#exchange.write(before + parts.map(({ text }) => text).join(","));
      return;
    }
    const pieces = isFirst ? [gzip.begin()] : [];
    for (const [index, { text, shared }] of parts.entries()) {
      const head = shared === undefined ? text : text.slice(0, shared.headSize);
      pieces.push(gzip.stored((index === 0 ? before : ",") + head));
      if (shared !== undefined) pieces.push(gzip.shared(text.slice(shared.headSize), shared.rest));
    }
    this.#exchange.write(Buffer.concat(pieces));
  }

  /** An answer whose first messages are short stays as it is: gzip would make it longer. */
  #beginAnswer(parts: readonly Part[]): void {
    const varies = this.compression === null ? {} : { Vary: "Origin, Accept-Encoding" };
    const isGzip = parts.some(({ shared }) => shared !== undefined);
    if (isGzip) this.#gzip = new GzipAnswer();
    this.#exchange.begin({ ...HEADERS, ...varies, ...(isGzip ? { "Content-Encoding": "gzip" } : {}) });
  }

  #end(text: string): void {
    const gzip = this.#gzip;
    this.#exchange.end(gzip === null ? text : Buffer.concat([gzip.stored(text), gzip.end()]));
  }

  /** Ends the answer if this is a suitable moment, after everything else that arrives in the same turn. */
  #settle(): void {
    if (this.#isEnding || !this.#isDone) return;
    this.#isEnding = true;
    const finish = this.#exchange.guarded("poll.settle", () => {
      this.#isEnding = false;
      if (this.#state !== "over" && this.#isDone) this.#finish();
    });
    setImmediate(finish);
  }

  get #isDone(): boolean {
    if (this.#state === "full") return true;
    if (!this.#isWhole) return false;
    if (this.#messages > 0) return this.#isCaughtUp || this.#isDue;
    return this.#isCaughtUp && this.#isDue;
  }

  #finish(): void {
    const end = `"cursor":${JSON.stringify(this.#cursor)},"ticket":${JSON.stringify(this.#ticket)}}\n`;
    if (this.#exchange.hasBegun) this.#end(`],${end}`);
    else this.#exchange.answer(`{${this.#start},"messages":[],${end}`);
    this.#state = "over";
  }

  #refuse(error: ErrorMessage): void {
    this.#exchange.answerError(error);
    this.#state = "over";
  }

  /** The node shuts down. A waiting client is sent to another node, at a random moment. */
  #leaveWithin(withinMs: number): void {
    this.#exchange.closeAfterwards();
    const due = this.#exchange.guarded("poll.drain", () => this.due());
    // Random, because otherwise all waiting clients would reach the other nodes at once.
    setTimeout(due, Math.random() * withinMs).unref();
  }
}

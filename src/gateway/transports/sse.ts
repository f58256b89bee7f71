/**
 * Server-sent events. A browser's `EventSource` reconnects by itself and repeats its URL and the last event id, so
 * everything needed to resume must be in that id, and every status other than 200 ends the stream permanently.
 */
import type { Chunk, EncodedMessage } from "../../feed/chunk.ts";
import type { CloseCode } from "../../protocol/close-codes.ts";
import type { ErrorMessage, ServerMessage, SubscribedMessage } from "../../protocol/messages.ts";
import type { Transport } from "../connection/transport.ts";
import { ENDED, idPrefix, START_OVER } from "../rights/event-id.ts";
import { type HttpExchange, NOT_SERVED, refusalIn, willPass } from "./http-exchange.ts";

/** The part of a stream request on which its events depend. */
export interface SseOptions {
  /** Whether a snapshot precedes the changes. In that case nothing can be resumed before its end. */
  readonly wantsSnapshot: boolean;
  /** Whether the request is a browser's own reconnection, which ends permanently on any status but 200. */
  readonly isReconnection: boolean;
  /** How long the browser waits before it reconnects, in milliseconds. */
  readonly retryMs: number;
  /** The service's mark on a ticket. */
  readonly mark: (ticket: string) => string;
}

const HEADERS = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-store",
  // For nginx, which otherwise keeps events until its buffer is full.
  "X-Accel-Buffering": "no",
};
const COMMENT = ":\n\n";

/**
 * Server-sent events (HTML standard, 9.2): one subscription, and each message is an event. A failure before the
 * subscription is active is an HTTP error. The stream begins with `welcome` and `subscribed`.
 */
export class SseTransport implements Transport {
  readonly kind = "sse";
  readonly compression = null;
  readonly #exchange: HttpExchange;
  readonly #options: SseOptions;
  #state: "pending" | "streaming" | "over" = "pending";
  /** Events from before the subscription was active. */
  #held = "";
  #idPrefix = "";

  constructor(exchange: HttpExchange, options: SseOptions) {
    this.#exchange = exchange;
    this.#options = options;
  }

  get bufferedBytes(): number {
    return this.#exchange.bufferedBytes;
  }

  get takenBytes(): number {
    return this.#exchange.takenBytes;
  }

  write(chunk: Chunk): void {
    if (this.#state !== "streaming") return;
    this.#exchange.write(chunk.messages.map((message) => this.#encodedEvent(message)).join(""));
  }

  send(message: ServerMessage): void {
    if (this.#state === "over") return;
    if (message.type === "subscribed") this.#subscribed(message);
    else if (this.#state === "streaming") this.#stream(message);
    else this.#hold(message);
  }

  /** Writes an empty comment, so that no proxy takes the stream for dead. */
  comment(): void {
    if (this.#state === "streaming" && this.bufferedBytes === 0) this.#exchange.write(COMMENT);
  }

  flushed(): Promise<void> {
    return this.#exchange.flushed();
  }

  /** A stream has one direction, so the client cannot answer. Failing writes show that it has left. */
  ping(): boolean {
    return false;
  }

  pong(): void {}

  pause(): void {}

  resume(): void {}

  close(_code: CloseCode, _reason: string): void {
    if (this.#state === "pending") this.#refuse(NOT_SERVED);
    else if (this.#state === "streaming") this.#end();
    this.#exchange.cutOffSoon();
  }

  terminate(): void {
    this.#state = "over";
    this.#exchange.destroy();
  }

  #subscribed(message: SubscribedMessage): void {
    this.#idPrefix = this.#prefixFor(message.ticket);
    const hasState = message.start === "resumed" || message.start === "live" || !this.#options.wantsSnapshot;
    const first = eventOf(message, this.#idPrefix + (hasState ? message.cursor : START_OVER));
    if (this.#state === "pending") {
      this.#state = "streaming";
      this.#exchange.begin(HEADERS);
      this.#exchange.write(`retry: ${this.#options.retryMs}\n\n${this.#held}`);
      this.#held = "";
    }
    this.#exchange.write(first);
  }

  #hold(message: ServerMessage): void {
    // It would be about a stream that has not begun. A client that continues would take it for its own position.
    if (message.type === "watermark") return;
    const refusal = refusalIn(message);
    if (refusal === null) this.#held += eventOf(message);
    else this.#refuse(refusal);
  }

  #stream(message: ServerMessage): void {
    if (message.type === "reset") this.#idPrefix = this.#prefixFor(message.ticket);
    // A stream has one subscription.
    if (message.type === "tickets") {
      for (const ticket of Object.values(message.tickets)) this.#idPrefix = this.#prefixFor(ticket);
    }
    const goOn = goOnFrom(message);
    this.#exchange.write(eventOf(message, goOn === undefined ? undefined : this.#idPrefix + goOn));
    if (message.type === "unsubscribed") this.#end();
  }

  #prefixFor(ticket: string): string {
    return idPrefix(this.#options.mark(ticket), ticket);
  }

  #encodedEvent({ type, text, cursor, partial }: EncodedMessage): string {
    if (cursor === undefined) return event(type, text);
    // A client cannot resume from half a snapshot. Within a transaction the cursor itself is from before it.
    const isHalf = type === "snapshot" && partial === true;
    return event(type, text, this.#idPrefix + (isHalf ? START_OVER : cursor));
  }

  #refuse(error: ErrorMessage): void {
    const { isReconnection, retryMs } = this.#options;
    const isGone = error.code === "forbidden" || error.code === "unknown-collection";
    if (isReconnection && isGone) this.#exchange.answerNothing();
    else if (isReconnection && willPass(error)) answerForNow(this.#exchange, error, retryMs);
    else this.#exchange.answerError(error);
    this.#state = "over";
  }

  #end(): void {
    this.#state = "over";
    this.#exchange.end();
  }
}

/**
 * Answers a browser's own reconnection with a temporary error, as a stream with nothing else in it. The browser takes
 * any status but 200 as final and would never reconnect.
 */
export function answerForNow(exchange: HttpExchange, error: ErrorMessage, retryMs: number): void {
  exchange.begin(HEADERS);
  exchange.end(`retry: ${(error.retryAfterMs ?? 0) + retryMs}\n\n${eventOf(error)}`);
}

/** The cursor from which a reconnection continues after this message, if the message contains one. */
function goOnFrom(message: ServerMessage): string | undefined {
  if (message.type === "watermark") return message.cursor;
  if (message.type === "reset") return START_OVER;
  return message.type === "unsubscribed" ? ENDED : undefined;
}

const eventOf = (message: ServerMessage, id?: string) => event(message.type, JSON.stringify(message), id);

/** Makes one event. The JSON has no line breaks, so it is one line of data. */
function event(type: string, text: string, id?: string): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${type}\ndata: ${text}\n\n`;
}

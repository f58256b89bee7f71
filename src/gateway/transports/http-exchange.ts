/**
 * The common part of streams and polls: one HTTP request whose answer is written in pieces. Node reports the end of a
 * client in several ways, and all of them are handled here.
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import { HTTP_STATUS } from "../../protocol/http-status.ts";
import type { ErrorMessage, ServerMessage } from "../../protocol/messages.ts";
import { takenBytesOf } from "./taken-bytes.ts";

const NOTHING = Buffer.alloc(0);
const NOTHING_TO_DO = () => {};
/** An answer that the client does not read to the end is cut off after this, in milliseconds. */
export const END_TIMEOUT_MS = 2_000;
/** The answer to a request that ends before it is served. */
export const NOT_SERVED: ErrorMessage = {
  type: "error",
  code: "unavailable",
  message: "the request ended before it was answered: try again",
  retry: "later",
};

const toBytes = (data: string | Buffer): Buffer => (typeof data === "string" ? Buffer.from(data) : data);

/** Whether the same request may succeed later. */
export const willPass = ({ retry }: ErrorMessage): boolean => retry === "later" || retry === "now";

/**
 * The refusal in a message that arrives before a subscription is active. An edit of the rules or a new order of commits
 * may overtake the subscription. `null` if the message is no refusal.
 */
export function refusalIn(message: ServerMessage): ErrorMessage | null {
  if (message.type === "error") return message;
  if (message.type === "reset") return NOT_SERVED;
  if (message.type !== "unsubscribed") return null;
  if (message.reason === "forbidden") {
    return { type: "error", code: "forbidden", message: "no rule allows this", retry: "never" };
  }
  return {
    type: "error",
    code: "unknown-collection",
    message: "the collection is no longer served",
    retry: "never",
  };
}

/**
 * If an error does not name a time to wait, the client waits a random time in this range, so that clients do not all
 * return at once. In seconds.
 */
const RETRY_AFTER_S = { min: 1, max: 5 };

/** One request over plain HTTP and its answer, written in pieces. Streams and polls share it. */
export class HttpExchange {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #guard: GuardParts;

  constructor(request: IncomingMessage, response: ServerResponse, guard: GuardParts) {
    this.#request = request;
    this.#response = response;
    this.#guard = guard;
    // A client that leaves during a write is noticed by "close".
    response.on("error", NOTHING_TO_DO);
  }

  /** Wraps a listener or a timer of this exchange. An unexpected error cuts it off. */
  guarded<A extends readonly unknown[]>(where: string, run: (...args: A) => unknown): (...args: A) => void {
    return guarded(this.#guard, where, run, () => this.destroy());
  }

  get bufferedBytes(): number {
    return this.#response.writableLength;
  }

  get takenBytes(): number {
    return takenBytesOf(this.#request.socket);
  }

  /** Whether the status was sent, so that no other can be. */
  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  begin(headers: Readonly<Record<string, string>>): void {
    this.#response.writeHead(200, headers);
  }

  /** Writes bytes, because for text Node counts the waiting data in UTF-16 units, each of which may be three bytes. */
  write(data: string | Buffer): void {
    if (!this.#response.destroyed) this.#response.write(toBytes(data));
  }

  flushed(): Promise<void> {
    const response = this.#response;
    if (!response.headersSent || response.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = this.guarded("http.flushed", () => {
        response.off("close", done);
        resolve();
      });
      response.once("close", done);
      // Writes are processed in order, so an empty one is done when everything before it is.
      if (!response.writableEnded) response.write(NOTHING, done);
    });
  }

  /** Ends the answer. Waiting data is still sent. */
  end(data: string | Buffer = ""): void {
    this.#response.end(toBytes(data));
  }

  /** A client that does not read its answer to the end keeps its socket no longer than this. */
  cutOffSoon(): void {
    const timer = setTimeout(
      this.guarded("http.cut-off", () => this.destroy()),
      END_TIMEOUT_MS,
    ).unref();
    this.#response.once(
      "close",
      this.guarded("http.cut-off", () => clearTimeout(timer)),
    );
  }

  /** Closes the socket after the answer, so that the next request of the client reaches another node. */
  closeAfterwards(): void {
    if (!this.#response.headersSent) this.#response.setHeader("Connection", "close");
  }

  /**
   * Sends a complete answer.
   * @param json An object, as text.
   */
  answer(json: string): void {
    answerText(this.#response, 200, json);
  }

  answerError(error: ErrorMessage): void {
    answerError(this.#response, error);
  }

  answerNothing(): void {
    this.#response.writeHead(204, { "Cache-Control": "no-store" }).end();
  }

  destroy(): void {
    this.#response.destroy();
  }
}

/** The part of an answer that a complete text needs. Answers of HTTP/1.1 and of HTTP/2 have it. */
interface AnswerHead {
  setHeader(name: string, value: string | number): unknown;
  writeHead(status: number, headers: OutgoingHttpHeaders): unknown;
  end(text: string): unknown;
}

/** Answers a request with an object as JSON, which no cache keeps. */
export function answerJson(response: AnswerHead, status: number, body: object): void {
  answerText(response, status, `${JSON.stringify(body)}\n`);
}

function answerText(response: AnswerHead, status: number, text: string): void {
  response.writeHead(status, {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

/**
 * [7] Answers with an error before a stream has begun. The status shows the kind, and the body is the error in the form
 * of a message.
 */
export function answerError(
  response: AnswerHead,
  { id: _id, ...error }: ErrorMessage,
  status: number = HTTP_STATUS[error.code],
): void {
  if (status === 401) response.setHeader("WWW-Authenticate", "Bearer");
  if (error.retry === "later") response.setHeader("Retry-After", retryAfterSeconds(error.retryAfterMs));
  answerJson(response, status, error);
}

function retryAfterSeconds(retryAfterMs: number | undefined): number {
  if (retryAfterMs !== undefined) return Math.ceil(retryAfterMs / 1_000);
  const { min, max } = RETRY_AFTER_S;
  return min + Math.floor(Math.random() * (max - min + 1));
}

import type { IncomingMessage, ServerResponse } from "node:http";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import { ERROR_CODES } from "../../protocol/errors.ts";
import type { ErrorMessage, ServerMessage } from "../../protocol/messages.ts";
import { takenBytesOf } from "./taken-bytes.ts";

const NOTHING = Buffer.alloc(0);
const NOTHING_TO_DO = () => {};
/** An answer that nobody reads to its end is cut off after this, in milliseconds. */
const END_TIMEOUT_MS = 2_000;
/** The answer to a request that the service ends before it is served. */
export const NOT_SERVED: ErrorMessage = {
  type: "error",
  code: "unavailable",
  message: "the request ended before it was answered: try again",
  retry: "later",
};

/** Whether the same request may succeed later. */
export const willPass = ({ retry }: ErrorMessage): boolean => retry === "later" || retry === "now";

/**
 * The refusal in a message that comes before a subscription is active: an edit of the rules, or a new order
 * of changes, may overtake it. `null` where it means nothing of the kind.
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

/** Where an error does not say when to come back: up to so much later, not all at once, in seconds. */
const RETRY_AFTER_S = { min: 1, max: 5 };

/** One request over plain HTTP and its answer, written bit by bit: what streams and polls have in common. */
export class HttpExchange {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #guard: GuardParts;

  constructor(request: IncomingMessage, response: ServerResponse, guard: GuardParts) {
    this.#request = request;
    this.#response = response;
    this.#guard = guard;
    // A client that goes away in the middle of a write shows by "close".
    response.on("error", NOTHING_TO_DO);
  }

  /** A listener or a timer of this exchange: an error that nobody expected cuts it off. */
  guarded<A extends readonly unknown[]>(where: string, run: (...args: A) => unknown): (...args: A) => void {
    return guarded(this.#guard, where, run, () => this.destroy());
  }

  get bufferedBytes(): number {
    return this.#response.writableLength;
  }

  get takenBytes(): number {
    return takenBytesOf(this.#request.socket);
  }

  /** Whether the status has gone out, so that no other can. */
  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  begin(headers: Readonly<Record<string, string>>): void {
    this.#response.writeHead(200, headers);
  }

  /** As bytes: of a text, Node counts what waits in UTF-16 units, which are up to three bytes each. */
  write(text: string): void {
    if (!this.#response.destroyed) this.#response.write(Buffer.from(text));
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
      // Writes are taken in order: an empty one is taken when everything before it has been.
      if (!response.writableEnded) response.write(NOTHING, done);
    });
  }

  /** Ends the answer; what waits is still sent. */
  end(text = ""): void {
    this.#response.end(Buffer.from(text));
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

  /** The socket is not kept for a next request: the client is to find another node. */
  closeAfterwards(): void {
    if (!this.#response.headersSent) this.#response.setHeader("Connection", "close");
  }

  /** A whole answer. @param json An object, as text. */
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

/** Answers a request with an object as JSON, which no cache keeps. */
export function answerJson(response: ServerResponse, status: number, body: object): void {
  answerText(response, status, `${JSON.stringify(body)}\n`);
}

function answerText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** [7] An error before a stream has begun: its status says the kind, the body is the error as it would be a message. */
export function answerError(
  response: ServerResponse,
  { id: _id, ...error }: ErrorMessage,
  status: number = ERROR_CODES[error.code].httpStatus,
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

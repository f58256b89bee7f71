/**
 * One call: a request over HTTP/1.1 or HTTP/2, and its answer, which the library of Connect writes. The two versions of
 * HTTP report the end of a call in different ways, and both are handled here.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { Writable } from "node:stream";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import { END_TIMEOUT_MS } from "../transports/http-exchange.ts";

const NOTHING = Buffer.alloc(0);
const NOTHING_TO_DO = () => {};
/** The size of the pieces in which an answer is written, in bytes. The progress of a slow client shows between them. */
const PIECE_BYTES = 65_536;

/** A request over either version of HTTP. */
export type CallRequest = IncomingMessage | Http2ServerRequest;
/** The answer to it. */
export type CallResponse = ServerResponse | Http2ServerResponse;

/** One call and its answer. */
export class Call {
  readonly request: CallRequest;
  readonly response: CallResponse;
  /** The client's address, for limits and the log. */
  readonly address: string;
  readonly #guard: GuardParts;
  #passedBytes = 0;
  #requestBytes = 0;

  constructor(
    { request, response }: { readonly request: CallRequest; readonly response: CallResponse },
    address: string,
    guard: GuardParts,
  ) {
    this.request = request;
    this.response = response;
    this.address = address;
    this.#guard = guard;
    // A client that leaves during a write is noticed by "close".
    response.on("error", NOTHING_TO_DO);
    response.once(
      "finish",
      guarded(guard, "grpc.finish", () => this.#stopReading()),
    );
  }

  /** Bytes of the request that have arrived. */
  get requestBytes(): number {
    return this.#requestBytes;
  }

  /** More bytes of the request have arrived. */
  noteArrived(bytes: number): void {
    this.#requestBytes += bytes;
  }

  /** Bytes of the answer that the client's windows and the operating system have not taken yet. */
  get bufferedBytes(): number {
    return this.response.writableLength;
  }

  /** Bytes of the answer that they have taken so far. */
  get takenBytes(): number {
    return this.#passedBytes - this.bufferedBytes;
  }

  /** Whether the whole answer was sent. */
  get isComplete(): boolean {
    const { response } = this;
    if (!("stream" in response)) return response.writableFinished;
    return response.writableEnded && response.stream?.rstCode === constants.NGHTTP2_NO_ERROR;
  }

  /** Passes the body of the answer on in pieces. */
  async *inPieces(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const bytes of body) {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        this.#passedBytes += piece.length;
        yield piece;
      }
    }
  }

  /** Calls a listener when the call has ended, on either side. */
  onClosed(where: string, listener: () => void): void {
    this.response.once("close", guarded(this.#guard, where, listener));
  }

  /** Settles when everything passed on so far was taken, or the call has ended. */
  flushed(): Promise<void> {
    const writable: Writable = "stream" in this.response ? this.response.stream : this.response;
    if (writable.writableLength === 0 || writable.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = guarded(this.#guard, "grpc.flushed", () => {
        writable.off("close", done);
        resolve();
      });
      writable.once("close", done);
      // Writes are processed in order, so an empty one is done when everything before it is.
      if (!writable.writableEnded) writable.write(NOTHING, done);
    });
  }

  /** A client that does not read its answer to the end keeps its call no longer than this. */
  cutOffSoon(): void {
    const cutOff = guarded(this.#guard, "grpc.cut-off", () => this.destroy());
    const timer = setTimeout(cutOff, END_TIMEOUT_MS).unref();
    this.onClosed("grpc.cut-off", () => clearTimeout(timer));
  }

  /** A client of HTTP/2 sends no more of a request that was answered before its end (RFC 9113, 8.1). */
  #stopReading(): void {
    const { request } = this;
    if ("stream" in request && !request.complete) request.stream.close(constants.NGHTTP2_NO_ERROR);
  }

  /** Ends the call at once. Other calls of the same connection continue. */
  destroy(): void {
    const { response } = this;
    if (!("stream" in response)) response.destroy();
    else if (response.stream?.destroyed === false) {
      // The library of the client reports it as RESOURCE_EXHAUSTED, because the client did not read.
      response.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    }
  }
}

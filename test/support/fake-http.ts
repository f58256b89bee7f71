/** The service's HTTP side as a script: every `fetch` of a client is the test's to answer. */
import type { ServerMessage } from "../../src/protocol/messages.ts";

export interface FakeRequest {
  readonly path: string;
  readonly parameters: Record<string, string>;
  readonly authorization: string | undefined;
  readonly isAborted: () => boolean;
  /** A whole answer. */
  answer(body: unknown, status?: number): void;
  /** The beginning of a stream. */
  stream(): { write(piece: string | Uint8Array): void; end(): void };
  fail(): void;
}

const encoder = new TextEncoder();

export class FakeHttp {
  readonly requests: FakeRequest[] = [];
  onRequest: (request: FakeRequest) => void = () => {};

  get request(): FakeRequest {
    const request = this.requests.at(-1);
    if (request === undefined) throw new Error("no request was made");
    return request;
  }

  readonly fetch: typeof fetch = (input, init) =>
    new Promise((resolve, reject) => {
      const url = new URL(String(input));
      const signal = init?.signal ?? undefined;
      let streaming: ReadableStreamDefaultController<Uint8Array> | undefined;
      const abort = () => {
        reject(signal?.reason);
        streaming?.error(signal?.reason);
      };
      signal?.addEventListener("abort", abort);
      // Like a real `fetch`: a request that has ended no longer listens to the signal, which all requests share.
      const ended = () => signal?.removeEventListener("abort", abort);
      const headers = new Headers(init?.headers);
      const request: FakeRequest = {
        path: url.pathname,
        parameters: Object.fromEntries(url.searchParams),
        authorization: headers.get("authorization") ?? undefined,
        isAborted: () => signal?.aborted === true,
        answer: (body, status = 200) => {
          ended();
          resolve(new Response(typeof body === "string" ? body : JSON.stringify(body), { status }));
        },
        stream: () => {
          const body = new ReadableStream<Uint8Array>({
            start: (controller) => {
              streaming = controller;
            },
          });
          resolve(new Response(body, { headers: { "Content-Type": "text/event-stream" } }));
          return {
            write: (piece) => streaming?.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece),
            end: () => {
              ended();
              streaming?.close();
            },
          };
        },
        fail: () => {
          ended();
          reject(new TypeError("fetch failed"));
        },
      };
      this.requests.push(request);
      queueMicrotask(() => this.onRequest(request));
    });
}

/** A message as the service writes it into a stream. */
export const event = (message: ServerMessage): string =>
  `id: x\nevent: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`;

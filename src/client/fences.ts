import { TidewireError } from "../protocol/errors.ts";
import type { ErrorMessage, FenceMessage } from "../protocol/messages.ts";
import type { Link } from "./link.ts";
import { toError } from "./to-error.ts";

/**
 * When a write took place, in the form in which the driver returns it to the backend: a BSON timestamp, or its Extended
 * JSON.
 */
export type OperationTime =
  | { readonly t: number; readonly i: number }
  | { readonly $timestamp: { readonly t: number; readonly i: number } };

interface Waiting {
  readonly message: FenceMessage;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** [3.1, fence] Callers that wait to read their own writes. The requests are repeated on the next connection. */
export class Fences {
  readonly #waiting = new Map<string, Waiting>();
  #count = 0;

  /** Waits for the answer to a fence, which is requested over the connection in use, if there is one. */
  add(operationTime: OperationTime, link: Link | undefined): Promise<void> {
    if (link?.isReady && link.transport?.kind !== "ws") return Promise.reject(noFences());
    const { t, i } = "$timestamp" in operationTime ? operationTime.$timestamp : operationTime;
    const id = `fence-${++this.#count}`;
    const message: FenceMessage = { type: "fence", id, operationTime: { $timestamp: { t, i } } };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { message, resolve, reject });
      link?.send(message);
    });
  }

  /** Requests all of them again over a new connection. */
  send(link: Link): void {
    if (link.transport?.kind !== "ws") this.fail(noFences());
    for (const { message } of this.#waiting.values()) link.send(message);
  }

  passed(id: string): void {
    this.#waiting.get(id)?.resolve();
    this.#waiting.delete(id);
  }

  /**
   * Handles an error.
   * @returns Whether it was about a fence.
   */
  refused(id: string, error: ErrorMessage): boolean {
    const waiting = this.#waiting.get(id);
    waiting?.reject(toError(error));
    return this.#waiting.delete(id);
  }

  /** Settles all of them, because no query is left that could lag behind. */
  pass(): void {
    for (const id of [...this.#waiting.keys()]) this.passed(id);
  }

  fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

const noFences = () => new TidewireError("unavailable", "a fence needs a WebSocket");

import { TidewireError } from "../protocol/errors.ts";
import type { FenceMessage } from "../protocol/messages.ts";
import type { Link } from "./link.ts";

/**
 * When a write took place, in the form in which the driver returns it to the backend: a BSON timestamp, or its Extended
 * JSON.
 */
export type OperationTime =
  | { readonly t: number; readonly i: number }
  | { readonly $timestamp: { readonly t: number; readonly i: number } };

interface Waiting {
  readonly message: FenceMessage;
  readonly settle: (error?: Error) => void;
}

/** [3.1, fence] Callers that wait to read their own writes. The requests are repeated on the next connection. */
export class Fences {
  readonly #waiting = new Map<string, Waiting>();
  #count = 0;

  /** Waits for the answer to a fence, which is requested over the connection in use, if that is ready. */
  add(operationTime: OperationTime, link: Link | undefined): Promise<void> {
    const { t, i } = "$timestamp" in operationTime ? operationTime.$timestamp : operationTime;
    const id = `fence-${++this.#count}`;
    const message: FenceMessage = { type: "fence", id, operationTime: { $timestamp: { t, i } } };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { message, settle: (error) => (error ? reject(error) : resolve()) });
      if (link?.isReady) this.#request(link, message);
    });
  }

  /** Requests all of them again over a new connection. */
  send(link: Link): void {
    for (const { message } of [...this.#waiting.values()]) this.#request(link, message);
  }

  #request(link: Link, message: FenceMessage): void {
    if (link.transport?.kind === "ws") link.send(message);
    else this.end(message.id, new TidewireError("unavailable", "a fence needs a WebSocket"));
  }

  /**
   * Settles a fence.
   * @returns Whether there was one.
   */
  end(id: string, error?: Error): boolean {
    this.#waiting.get(id)?.settle(error);
    return this.#waiting.delete(id);
  }

  /** Settles all of them. */
  endAll(error?: Error): void {
    for (const id of [...this.#waiting.keys()]) this.end(id, error);
  }
}

import type { ErrorMessage, FenceMessage } from "../protocol/messages.ts";
import { toError } from "./to-error.ts";

/** When a write took place, as the driver gives it to the backend: a BSON timestamp, or its Extended JSON. */
export type OperationTime =
  | { readonly t: number; readonly i: number }
  | { readonly $timestamp: { readonly t: number; readonly i: number } };

interface Waiting {
  readonly message: FenceMessage;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** [3.1, fence] Those who wait to read their own writes; asked again on the next connection. */
export class Fences {
  readonly #waiting = new Map<string, Waiting>();
  #count = 0;

  add(operationTime: OperationTime, send: (message: FenceMessage) => void): Promise<void> {
    const { t, i } = "$timestamp" in operationTime ? operationTime.$timestamp : operationTime;
    const id = `fence-${++this.#count}`;
    const message: FenceMessage = { type: "fence", id, operationTime: { $timestamp: { t, i } } };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { message, resolve, reject });
      send(message);
    });
  }

  /** On a new connection. */
  send(send: (message: FenceMessage) => void): void {
    for (const { message } of this.#waiting.values()) send(message);
  }

  passed(id: string): void {
    this.#waiting.get(id)?.resolve();
    this.#waiting.delete(id);
  }

  /** Whether the error was about a fence. */
  refused(id: string, error: ErrorMessage): boolean {
    const waiting = this.#waiting.get(id);
    waiting?.reject(toError(error));
    return this.#waiting.delete(id);
  }

  /** There is nothing left that could lag behind. */
  pass(): void {
    for (const id of [...this.#waiting.keys()]) this.passed(id);
  }

  fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

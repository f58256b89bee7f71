/**
 * Acknowledgements of Socket.IO. A client of the library may pass a callback with a request, which the protocol of the
 * service does not know, so the answer is matched to it here.
 */
import type { ClientMessage, ErrorMessage, ServerMessage } from "../../protocol/messages.ts";

/** A function that calls the client's callback, once. */
export type Acknowledge = (answer: ServerMessage) => void;

/** The type of the message that answers each kind of request. */
const ANSWERS: ReadonlyMap<string, ServerMessage["type"]> = new Map<
  ClientMessage["type"],
  ServerMessage["type"]
>([
  ["subscribe", "subscribed"],
  ["unsubscribe", "unsubscribed"],
  ["fence", "fenced"],
  ["enter", "entered"],
  ["leave", "left"],
  ["refresh", "refreshed"],
  ["ping", "pong"],
]);

/**
 * The acknowledgements for which clients of Socket.IO wait. There are no more than requests in progress, which have
 * their own limit.
 */
export class Acknowledgements {
  readonly #waiting = new Map<string, Acknowledge[]>();

  /**
   * Waits for the answer to a request.
   * @returns A function for the case that the only answer is an error.
   */
  expect(type: string, id: string | undefined, acknowledge: Acknowledge): (error: ErrorMessage) => void {
    const answer = ANSWERS.get(type);
    // An event that is no request of the protocol is answered with an error.
    if (answer === undefined) return acknowledge;
    const key = keyOf(answer, id);
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) this.#waiting.set(key, [acknowledge]);
    else waiting.push(acknowledge);
    return (error) => {
      this.#forget(key, acknowledge);
      acknowledge(error);
    };
  }

  /** Calls the acknowledgement that waits for this message. */
  settle(message: ServerMessage): void {
    const id = "id" in message ? message.id : undefined;
    const key = keyOf(message.type, id);
    const first = this.#waiting.get(key)?.[0];
    if (first !== undefined) {
      this.#forget(key, first);
      first(message);
    }
    const begin = message.type === "unsubscribed" ? "subscribed" : message.type === "left" ? "entered" : null;
    if (begin === null) return;
    // A subscription or an entry that ended before it was active is answered by its end alone.
    const asked = keyOf(begin, id);
    for (const acknowledge of this.#waiting.get(asked) ?? []) acknowledge(message);
    this.#waiting.delete(asked);
  }

  #forget(key: string, acknowledge: Acknowledge): void {
    const others = (this.#waiting.get(key) ?? []).filter((other) => other !== acknowledge);
    if (others.length === 0) this.#waiting.delete(key);
    else this.#waiting.set(key, others);
  }
}

const keyOf = (type: string, id: string | undefined) => `${type} ${id ?? ""}`;

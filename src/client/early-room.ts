/**
 * Decides how many requests may be sent before the service has answered `hello`. Sending them early saves a round trip
 * at every page load; sending too many makes the service close the connection.
 */
import type { WelcomeMessage } from "../protocol/messages.ts";
import {
  EARLY_LARGEST_MESSAGES,
  EARLY_MESSAGES,
  MESSAGE_BYTES,
  REQUEST_BURST,
} from "../protocol/request-limits.ts";
import type { Room } from "./request-queue.ts";

/** The close code of the service if it accepts fewer early messages. */
const MALFORMED = 4400;
/** The share of the messages accepted at once that early messages may use. The rest is left to other requests. */
const SHARE = 0.5;

/**
 * [3.1] How much a connection may send right after `hello`: at first the default of every service, later the limits of
 * this one.
 */
export class EarlyRoom {
  #hasBeenWelcomed = false;
  #room: Room = { messages: EARLY_MESSAGES, bytes: EARLY_LARGEST_MESSAGES * MESSAGE_BYTES };

  get room(): Room {
    return this.#room;
  }

  /** Whether the service is known from an earlier connection. */
  get hasBeenWelcomed(): boolean {
    return this.#hasBeenWelcomed;
  }

  /** Takes the limits of the service. An older service accepts no early messages, and has no limit for them. */
  welcomed({ limits }: WelcomeMessage): void {
    this.#hasBeenWelcomed = true;
    const burst = Math.floor((limits["requestBurst"] ?? REQUEST_BURST) * SHARE);
    this.#room = {
      messages: Math.min(limits["earlyMessages"] ?? 0, burst),
      bytes: EARLY_LARGEST_MESSAGES * (limits["messageBytes"] ?? 0),
    };
  }

  /**
   * Whether a connection without a welcome was closed because of its early messages. If so, the next one sends none.
   * @param wasEarly Whether it had sent some.
   */
  refused(code: number, wasEarly: boolean): boolean {
    const isRefused = wasEarly && code === MALFORMED;
    if (isRefused) this.#room = { messages: 0, bytes: 0 };
    return isRefused;
  }
}

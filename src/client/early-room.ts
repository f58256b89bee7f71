import type { WelcomeMessage } from "../protocol/messages.ts";
import type { Room } from "./request-queue.ts";

/** The service closes with this code if it takes fewer early messages. */
const MALFORMED = 4400;
/** Of the messages that the service takes at once, so much is left to requests of other kinds. */
const SHARE = 0.5;
const BURST = 100;
/** Early messages take together at most so many times the largest message. */
const LARGEST_MESSAGES = 4;

/** [3.1] How much a connection may send right after `hello`: by default what every service takes, then what this one says. */
export class EarlyRoom {
  #hasBeenWelcomed = false;
  #room: Room = { messages: 32, bytes: LARGEST_MESSAGES * 65_536 };

  get room(): Room {
    return this.#room;
  }

  /** Whether the service is known from an earlier connection. */
  get hasBeenWelcomed(): boolean {
    return this.#hasBeenWelcomed;
  }

  /** An older service takes no early messages, and names no limit for them. */
  welcomed({ limits }: WelcomeMessage): void {
    this.#hasBeenWelcomed = true;
    const burst = Math.floor((limits["requestBurst"] ?? BURST) * SHARE);
    this.#room = {
      messages: Math.min(limits["earlyMessages"] ?? 0, burst),
      bytes: LARGEST_MESSAGES * (limits["messageBytes"] ?? 0),
    };
  }

  /**
   * Whether a connection that was not welcomed was closed for its early messages. The next one sends none then.
   * @param wasEarly It had sent some.
   */
  refused(code: number, wasEarly: boolean): boolean {
    const isRefused = wasEarly && code === MALFORMED;
    if (isRefused) this.#room = { messages: 0, bytes: 0 };
    return isRefused;
  }
}

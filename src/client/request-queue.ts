/**
 * Keeps the requests of one connection below the service's rate limits. A page may mount hundreds of components at
 * once; without the queue their subscriptions would be refused with `too-many-requests`, and each would wait for its
 * own retry.
 */
import type { ClientMessage, WelcomeMessage } from "../protocol/messages.ts";
import {
  EARLY_LARGEST_MESSAGES,
  EARLY_MESSAGES,
  MESSAGE_BYTES,
  REQUEST_BURST,
  REQUESTS_PER_SECOND,
  requestCost,
  utf8Bytes,
} from "../protocol/request-limits.ts";

/** Half of what the service allows, because the queue does not count other messages, and clocks differ. */
const SHARE = 0.5;
/** The most that the type, id, cursor and ticket of a `subscribe` take besides its request, in bytes. */
const ENVELOPE_BYTES = 2_500;

/**
 * [3.1] How much may be sent before `welcome` has arrived. Early messages save a round trip at every page load; too many make
 * the service close the connection.
 */
export interface Room {
  readonly messages: number;
  /** The size of these messages together. */
  readonly bytes: number;
}

/** The room that every service has by default. */
export const DEFAULT_ROOM: Room = { messages: EARLY_MESSAGES, bytes: EARLY_LARGEST_MESSAGES * MESSAGE_BYTES };
export const NO_ROOM: Room = { messages: 0, bytes: 0 };

/** The room of a known service. An older service accepts no early messages, and has no limit for them. */
export const roomOf = ({ limits }: WelcomeMessage): Room => ({
  messages: Math.min(limits["earlyMessages"] ?? 0, Math.floor(burstOf(limits))),
  bytes: EARLY_LARGEST_MESSAGES * (limits["messageBytes"] ?? 0),
});

const burstOf = (limits: WelcomeMessage["limits"]) => (limits["requestBurst"] ?? REQUEST_BURST) * SHARE;

interface Request {
  /** The size of the message without its envelope. */
  readonly bytes: number;
  /** Called at the time of sending, because the request may be over by then, or continue from a newer cursor. */
  readonly make: () => ClientMessage | undefined;
}

/** Sends the requests of one connection when the limits of the service have room for them. */
export class RequestQueue {
  readonly #send: (message: ClientMessage) => void;
  #isReady = false;
  #burst = burstOf({});
  #perSecond = REQUESTS_PER_SECOND * SHARE;
  /** The cost of the messages that were sent, reduced by the time that has passed. At most the burst may be owed before a request. */
  #owed = 0;
  #countedAtMs = 0;
  /** The room that is left for early messages; `undefined` while none may be sent. */
  #early: Room | undefined;
  #queue: Request[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (message: ClientMessage) => void) {
    this.#send = send;
  }

  /** Whether requests may be added: the connection is ready, or takes early messages. */
  get isOpen(): boolean {
    return this.#isReady || this.#early !== undefined;
  }

  /** Before the welcome: whether messages were sent. The service charges them after it, all at once. */
  get wasEarly(): boolean {
    return this.#owed > 0;
  }

  /** [3.1] `hello` was sent. Requests that fit into the room follow at once, the rest when the connection is ready. */
  opened(room: Room): void {
    this.#early = room;
  }

  /** Takes the limits of this service. */
  welcome({ limits }: WelcomeMessage, nowMs = Date.now()): void {
    this.#burst = burstOf(limits);
    this.#perSecond = (limits["requestsPerSecond"] ?? REQUESTS_PER_SECOND) * SHARE;
    this.#countedAtMs = nowMs;
  }

  /** Requests may be sent from now on, at the rate that the service allows. */
  ready(): void {
    this.#isReady = true;
    this.#early = undefined;
    this.#pump();
  }

  /**
   * Adds a request.
   * @param make Makes the message when it can be sent; `undefined` if the request is over by then.
   * @param text The JSON of the message without its envelope.
   */
  add(make: () => ClientMessage | undefined, text: string): void {
    this.#queue.push({ bytes: utf8Bytes(text), make });
    this.#pump();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#isReady = false;
    this.#early = undefined;
    this.#queue = [];
  }

  #pump(): void {
    if (this.#isReady) this.#earn();
    for (;;) {
      const [next] = this.#queue;
      if (!next || !this.isOpen) return;
      const room = this.#early;
      const size = next.bytes + ENVELOPE_BYTES;
      if (room && (room.messages < 1 || room.bytes < size)) return;
      // A request that costs more than the burst waits for all of it, and the ones after it wait longer.
      const missing = this.#owed + Math.min(requestCost(next.bytes), this.#burst) - this.#burst;
      if (missing > 0) {
        if (!room) this.#pumpAfter((missing * 1_000) / this.#perSecond);
        return;
      }
      this.#queue.shift();
      const message = next.make();
      if (!message) continue;
      if (room) this.#early = { messages: room.messages - 1, bytes: room.bytes - size };
      this.#owed += costOf(message);
      this.#send(message);
    }
  }

  /** Reduces the cost by the time that has passed. */
  #earn(): void {
    const nowMs = Date.now();
    this.#owed = Math.max(0, this.#owed - ((nowMs - this.#countedAtMs) * this.#perSecond) / 1_000);
    this.#countedAtMs = nowMs;
  }

  #pumpAfter(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, delayMs));
  }
}

/** The cost of a message, envelope included, as the service counts it. */
const costOf = (message: ClientMessage) => requestCost(utf8Bytes(JSON.stringify(message)));

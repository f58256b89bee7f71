/**
 * Keeps the requests of one connection below the service's rate limits. A page may mount hundreds of components at
 * once; without the queue their subscriptions would be refused with `too-many-requests`, and each would wait for its
 * own retry.
 */
import type { ClientMessage, WelcomeMessage } from "../protocol/messages.ts";
import { REQUEST_BURST, REQUESTS_PER_SECOND, requestCost, utf8Bytes } from "../protocol/request-limits.ts";

/** Half of what the service allows, because the queue does not count other messages, and clocks differ. */
const SHARE = 0.5;
/** The most that the type, id, cursor and ticket of a `subscribe` take besides its request, in bytes. */
const ENVELOPE_BYTES = 2_500;

/** How much may be sent before `welcome` has arrived. */
export interface Room {
  readonly messages: number;
  /** The size of these messages together. */
  readonly bytes: number;
}

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
  #burst = REQUEST_BURST * SHARE;
  #perSecond = REQUESTS_PER_SECOND * SHARE;
  /** The cost that may be sent now. It is below zero after a request that cost more than was left. */
  #allowance = this.#burst;
  #countedAtMs = 0;
  /** [3.1] The room that is left for early messages; `undefined` while none may be sent. */
  #early: Room | undefined;
  /** The cost of the early messages that were sent. The service charges them after `welcome`. */
  #earlyCost = 0;
  #queue: Request[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (message: ClientMessage) => void) {
    this.#send = send;
  }

  /** Whether requests may be added: the connection is ready, or takes early messages. */
  get isOpen(): boolean {
    return this.#isReady || this.#early !== undefined;
  }

  /** Whether messages were sent before the welcome. */
  get wasEarly(): boolean {
    return this.#earlyCost > 0;
  }

  /** [3.1] `hello` was sent. Requests that fit into the room follow at once, the rest when the connection is ready. */
  opened(room: Room): void {
    this.#early = room;
  }

  /** Takes the limits of this service. */
  welcome({ limits }: WelcomeMessage, nowMs: number): void {
    this.#burst = (limits["requestBurst"] ?? REQUEST_BURST) * SHARE;
    this.#perSecond = (limits["requestsPerSecond"] ?? REQUESTS_PER_SECOND) * SHARE;
    this.#allowance = this.#burst - this.#earlyCost;
    this.#countedAtMs = nowMs;
  }

  /** Requests may be sent from now on, at the rate that the service allows. */
  ready(): void {
    this.#isReady = true;
    this.#early = undefined;
    if (this.#timer === undefined) this.#pump();
  }

  /**
   * Adds a request.
   * @param make Makes the message when it can be sent; `undefined` if the request is over by then.
   * @param text The JSON of the message without its envelope.
   */
  add(make: () => ClientMessage | undefined, text: string): void {
    this.#queue.push({ bytes: utf8Bytes(text), make });
    if (this.#early !== undefined) this.#pumpEarly();
    else if (this.#isReady && this.#timer === undefined) this.#pump();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#isReady = false;
    this.#early = undefined;
    this.#queue = [];
  }

  #pumpEarly(): void {
    for (const next of [...this.#queue]) {
      const size = next.bytes + ENVELOPE_BYTES;
      const room = this.#early;
      if (room === undefined || room.messages < 1 || room.bytes < size) return;
      // The service charges all of them at once, after `welcome`.
      if (this.wasEarly && this.#earlyCost + requestCost(next.bytes) > this.#burst) return;
      this.#queue.shift();
      const message = next.make();
      if (message === undefined) continue;
      this.#early = { messages: room.messages - 1, bytes: room.bytes - size };
      this.#earlyCost += costOf(message);
      this.#send(message);
    }
  }

  #pump(): void {
    this.#timer = undefined;
    const nowMs = Date.now();
    const earned = ((nowMs - this.#countedAtMs) * this.#perSecond) / 1_000;
    this.#allowance = Math.min(this.#burst, this.#allowance + earned);
    this.#countedAtMs = nowMs;
    for (;;) {
      const [next] = this.#queue;
      if (next === undefined) return;
      // A request that costs more than the burst waits for all of it, and the ones after it wait longer.
      const missing = Math.min(requestCost(next.bytes), this.#burst) - this.#allowance;
      if (missing > 0) {
        this.#timer = setTimeout(() => this.#pump(), Math.max(1, (missing * 1_000) / this.#perSecond));
        return;
      }
      this.#queue.shift();
      const message = next.make();
      if (message === undefined) continue;
      this.#allowance -= costOf(message);
      this.#send(message);
    }
  }
}

/** The cost of a message, envelope included, as the service counts it. */
const costOf = (message: ClientMessage) => requestCost(utf8Bytes(JSON.stringify(message)));

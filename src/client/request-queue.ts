import type { ClientMessage, WelcomeMessage } from "../protocol/messages.ts";

/** Half of what the service allows: other requests want their share, and clocks differ. */
const SHARE = 0.5;
const BURST = 100;
const PER_SECOND = 50;
const COST_BYTES = 1_024;
/** The type, id, cursor and ticket of a `subscribe` take at most so many bytes beside its request. */
const ENVELOPE_BYTES = 2_500;
/** In UTF-8 a text takes at most three bytes for each of its characters. */
const BYTES_PER_CHARACTER = 3;

/** The messages, and their bytes together, that may be sent before the welcome. */
export interface Room {
  readonly messages: number;
  readonly bytes: number;
}

interface Request {
  readonly characters: number;
  readonly make: () => ClientMessage | undefined;
}

/** As the service counts: large filters cost more. */
const costOf = ({ characters }: Request) => 1 + Math.floor(characters / COST_BYTES);

/** Sends the requests of one connection when the limits of the service have room for them. */
export class RequestQueue {
  readonly #send: (message: ClientMessage) => void;
  #isReady = false;
  #burst = BURST * SHARE;
  #perSecond = PER_SECOND * SHARE;
  #allowance = this.#burst;
  #countedAtMs = 0;
  /** [3.1] The room that is left for early messages, while they may be sent. */
  #early: Room | undefined;
  /** The cost of the early messages that were sent. */
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

  /** [3.1] `hello` was sent. As many messages follow at once as there is room for, the rest when the connection is ready. */
  opened(room: Room): void {
    this.#early = room;
  }

  /** The service says what it allows. */
  welcome({ limits }: WelcomeMessage, nowMs: number): void {
    this.#burst = (limits["requestBurst"] ?? BURST) * SHARE;
    this.#perSecond = (limits["requestsPerSecond"] ?? PER_SECOND) * SHARE;
    this.#allowance = this.#burst - this.#earlyCost;
    this.#countedAtMs = nowMs;
  }

  ready(): void {
    this.#isReady = true;
    this.#early = undefined;
    if (this.#timer === undefined) this.#pump();
  }

  /**
   * Sends what `make` gives when there is room for it; nothing if it gives nothing then.
   * @param characters The length of the message without its envelope.
   */
  add(make: () => ClientMessage | undefined, characters: number): void {
    this.#queue.push({ characters, make });
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
      const size = next.characters * BYTES_PER_CHARACTER + ENVELOPE_BYTES;
      const room = this.#early;
      if (room === undefined || room.messages < 1 || room.bytes < size) return;
      this.#queue.shift();
      const message = next.make();
      if (message === undefined) continue;
      this.#early = { messages: room.messages - 1, bytes: room.bytes - size };
      this.#earlyCost += costOf(next);
      this.#send(message);
    }
  }

  #pump(): void {
    this.#timer = undefined;
    const nowMs = Date.now();
    const earned = ((nowMs - this.#countedAtMs) * this.#perSecond) / 1_000;
    this.#allowance = Math.min(this.#burst, this.#allowance + earned);
    this.#countedAtMs = nowMs;
    while (this.#allowance >= 1) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#allowance -= costOf(next);
      const message = next.make();
      if (message !== undefined) this.#send(message);
    }
    if (this.#queue.length === 0) return;
    const waitMs = ((1 - this.#allowance) * 1_000) / this.#perSecond;
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, waitMs));
  }
}

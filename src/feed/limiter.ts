/**
 * Shares a limited number of slots fairly between users. One queue for all would let a single user with many requests
 * delay everybody else by the length of its own queue.
 */
import { noteSlots, type Payer, Turn } from "./turn.ts";

/** Counts those who wait, by the option of `limits` that they wait for. */
export interface WaitingGauge {
  inc(labels: { readonly limit: string }): void;
  dec(labels: { readonly limit: string }): void;
}

/** The number of slots, and of those that one user may hold. Each with the option of `limits` that sets it. */
export interface Slots {
  readonly most: number;
  readonly limit?: string;
  readonly mostPerUser?: number;
  readonly limitPerUser?: string;
}

interface Waiting {
  readonly turn: Turn;
  readonly limit: string;
  readonly serve: (release: () => void) => void;
}

/**
 * Lets a limited number of callers hold a slot at once. The users who wait are served in rotation, and the requests of
 * one user in the order of their calls. One user never holds more than a share of the slots.
 */
export class Limiter {
  readonly #slots: Slots;
  readonly #mostPerUser: number;
  readonly #gauge: WaitingGauge | null;
  /** The requests of each user who waits. The user whose turn is next comes first. */
  readonly #queues = new Map<Payer, Set<Waiting>>();
  readonly #heldBy = new Map<Payer, number>();
  #held = 0;

  constructor(slots: Slots, gauge: WaitingGauge | null = null) {
    this.#slots = slots;
    this.#mostPerUser = slots.mostPerUser ?? slots.most;
    this.#gauge = gauge;
  }

  get held(): number {
    return this.#held;
  }

  /** Whether no slot is free. */
  get isFull(): boolean {
    return this.#held >= this.#slots.most;
  }

  /**
   * Waits for a slot.
   * @returns A function that returns the slot. Further calls do nothing.
   */
  async acquire(turn: Turn = new Turn()): Promise<() => void> {
    if (!this.isFull) {
      // A user who waits while a slot is free holds a full share, so nobody is overtaken here.
      for (const payer of turn.payers) if (this.#mayHold(payer)) return this.#give(payer);
    }
    return new Promise((serve) => this.#enqueue(turn, serve));
  }

  async run<T>(work: () => Promise<T>, turn?: Turn): Promise<T> {
    const release = await this.acquire(turn);
    try {
      return await work();
    } finally {
      release();
    }
  }

  #mayHold(payer: Payer): boolean {
    return (this.#heldBy.get(payer) ?? 0) < this.#mostPerUser;
  }

  #enqueue(turn: Turn, serve: Waiting["serve"]): void {
    const { limit = "", limitPerUser = "" } = this.#slots;
    const waiting: Waiting = { turn, limit: this.isFull ? limit : limitPerUser, serve };
    this.#gauge?.inc({ limit: waiting.limit });
    const add = (payer: Payer) => {
      noteSlots(payer, { waiting: 1 });
      const queue = this.#queues.get(payer);
      if (queue === undefined) this.#queues.set(payer, new Set([waiting]));
      else queue.add(waiting);
    };
    for (const payer of turn.payers) add(payer);
    turn.whileWaiting((payer) => {
      add(payer);
      this.#serve();
    });
  }

  #give(payer: Payer): () => void {
    this.#held++;
    noteSlots(payer, { held: 1 });
    this.#heldBy.set(payer, (this.#heldBy.get(payer) ?? 0) + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#held--;
      noteSlots(payer, { held: -1 });
      const held = (this.#heldBy.get(payer) ?? 0) - 1;
      if (held > 0) this.#heldBy.set(payer, held);
      else this.#heldBy.delete(payer);
      // In this turn, so that a caller that arrives now cannot overtake those who wait.
      this.#serve();
    };
  }

  /** Gives the free slots to those who wait, the user who was served longest ago first. */
  #serve(): void {
    while (!this.isFull) {
      const next = this.#next();
      if (next === null) return;
      const { waiting, payer } = next;
      waiting.turn.whileWaiting(null);
      for (const other of waiting.turn.payers) this.#leaveQueue(other, waiting);
      const rest = this.#queues.get(payer);
      if (rest !== undefined) {
        this.#queues.delete(payer);
        this.#queues.set(payer, rest);
      }
      this.#gauge?.dec({ limit: waiting.limit });
      waiting.serve(this.#give(payer));
    }
  }

  /** At most as many users are passed over as hold a full share. */
  #next(): { waiting: Waiting; payer: Payer } | null {
    for (const [payer, queue] of this.#queues) {
      const [waiting] = queue;
      if (waiting !== undefined && this.#mayHold(payer)) return { waiting, payer };
    }
    return null;
  }

  #leaveQueue(payer: Payer, waiting: Waiting): void {
    const queue = this.#queues.get(payer);
    if (queue?.delete(waiting) === true) noteSlots(payer, { waiting: -1 });
    if (queue?.size === 0) this.#queues.delete(payer);
  }
}

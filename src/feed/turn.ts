/**
 * The users for whom a read waits for a slot. Several users may share one read, so the read is served as soon as the queue
 * of any one of them allows it: a user who joins the read of another must not wait in that user's queue.
 */

/** The account of a user who waits for slots. `null` is the service itself, which waits like one more user. */
export type Payer = object | null;

/** The slots of all limiters that a user holds, and the requests of the user that wait for one. */
export interface SlotUse {
  held: number;
  waiting: number;
}

const uses = new WeakMap<object, SlotUse>();
const NO_USE: Readonly<SlotUse> = { held: 0, waiting: 0 };

/** The present use of slots by a user. */
export const slotUseOf = (payer: object): Readonly<SlotUse> => uses.get(payer) ?? NO_USE;

/** Counts slots that a user takes or returns, and requests that begin or cease to wait. */
export function noteSlots(payer: Payer, { held = 0, waiting = 0 }: Partial<SlotUse>): void {
  if (payer === null) return;
  const use = uses.get(payer) ?? { held: 0, waiting: 0 };
  use.held += held;
  use.waiting += waiting;
  uses.set(payer, use);
}

/** The wait for one read. May be used for several slots, one after the other. */
export class Turn {
  readonly #payers = new Set<Payer>();
  readonly #wishes: (() => boolean)[] = [];
  #onJoin: ((payer: Payer) => void) | null = null;

  /** @param isWanted Whether the user still wants the read when it is served. */
  constructor(payer: Payer = null, isWanted: () => boolean = () => true) {
    this.#payers.add(payer);
    this.#wishes.push(isWanted);
  }

  get payers(): ReadonlySet<Payer> {
    return this.#payers;
  }

  /** Whether at least one of its users still wants the read. */
  get isWanted(): boolean {
    return this.#wishes.some((isWanted) => isWanted());
  }

  /** One more user wants the read. */
  join(payer: Payer, isWanted: () => boolean = () => true): void {
    this.#wishes.push(isWanted);
    if (this.#payers.has(payer)) return;
    this.#payers.add(payer);
    this.#onJoin?.(payer);
  }

  /** For the limiter in which it waits: `onJoin` is called for each user who joins meanwhile. */
  whileWaiting(onJoin: ((payer: Payer) => void) | null): void {
    this.#onJoin = onJoin;
  }
}

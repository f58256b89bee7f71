import { type Payer, slotUseOf } from "./turn.ts";

/** In the queues of so many users a read waits that all followers of a live query need. */
const PAYERS_MAX = 8;

/** They are the least busy ones of so many users. */
const CANDIDATES_MAX = 1_000;

/**
 * The users of a live query in whose queues a read for all of them waits, the least busy one first. Users with many reads
 * of their own must not delay those of the others. Ends early if enough users have no reads at all, as most users have
 * none.
 */
export function leastBusy<P extends Exclude<Payer, null>>(payers: Iterable<P>): P[] {
  const chosen: { readonly payer: P; readonly reads: number }[] = [];
  let seen = 0;
  for (const payer of payers) {
    const { held, waiting } = slotUseOf(payer);
    const reads = held + waiting;
    const busier = chosen.findIndex((other) => other.reads > reads);
    chosen.splice(busier < 0 ? chosen.length : busier, 0, { payer, reads });
    if (chosen.length > PAYERS_MAX) chosen.pop();
    const hasEnough = chosen.length === PAYERS_MAX && chosen.at(-1)?.reads === 0;
    if (hasEnough || ++seen >= CANDIDATES_MAX) break;
  }
  return chosen.map(({ payer }) => payer);
}

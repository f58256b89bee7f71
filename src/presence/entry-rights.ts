/**
 * The rights of entries. The decision about an entry and its effect happen in one turn, as for subscriptions. While a set
 * must be read before an entry can be judged again, the entry stays; if the set cannot be read, the entry ends.
 */
import type { Identity } from "../auth/verify-token.ts";
import type { RightsOwner } from "../gateway/connection/held-lookups.ts";
import type { GatewayContext } from "../gateway/context.ts";
import { noteFault } from "../metrics/guard.ts";
import { TidewireError } from "../protocol/errors.ts";
import { type Admission, admitEntry } from "../rules/admit-entry.ts";
import { LookupsNeeded } from "../rules/bind-rule.ts";
import type { HeldEntry } from "./held-entry.ts";

/** Judges entries by the rules in force. */
export class EntryRights {
  readonly #context: GatewayContext;
  readonly #onWithdrawn: (entry: HeldEntry) => void;

  /** @param onWithdrawn Ends an entry, in the same turn. */
  constructor(context: GatewayContext, onWithdrawn: (entry: HeldEntry) => void) {
    this.#context = context;
    this.#onWithdrawn = onWithdrawn;
  }

  /** Judges an entry again when one of its sets changes, at that very commit. */
  ownerOf(entryOf: () => HeldEntry): RightsOwner {
    return {
      rightsChanged: () => this.judgeAgain(entryOf()),
      rightsFailed: (error) => {
        noteFault(this.#context, "presence.lookup", error);
        this.#onWithdrawn(entryOf());
      },
    };
  }

  /**
   * Decides whether a user may have an entry with this data.
   * @throws {TidewireError} `forbidden`; `unavailable`, `snapshot-too-large` if a set cannot be read.
   */
  async admit(entry: HeldEntry, identity: Identity, dataText: string): Promise<Admission> {
    for (;;) {
      try {
        return this.#judge(entry, identity, dataText);
      } catch (error) {
        if (!(error instanceof LookupsNeeded)) throw error;
        await entry.lookups.acquire(error.lookups);
        if (entry.isOver) throw new TidewireError("forbidden", "no rule allows this entry");
      }
    }
  }

  /** Ends an entry if its user has lost the right to it. Never throws. */
  judgeAgain(entry: HeldEntry): void {
    if (entry.isOver) return;
    try {
      this.#judge(entry, entry.identity, entry.dataText);
    } catch (error) {
      if (!(error instanceof LookupsNeeded)) this.#withdraw(entry, error);
      else if (entry.lookups.acquireAtOnce(error.lookups)) this.judgeAgain(entry);
      else this.#judgeOnceRead(entry, error);
    }
  }

  #judgeOnceRead(entry: HeldEntry, { lookups }: LookupsNeeded): void {
    entry.lookups.acquire(lookups).then(
      () => this.judgeAgain(entry),
      (error: unknown) => this.#withdraw(entry, error),
    );
  }

  #withdraw(entry: HeldEntry, error: unknown): void {
    if (!(error instanceof TidewireError)) noteFault(this.#context, "presence.judge", error);
    this.#onWithdrawn(entry);
  }

  #judge(entry: HeldEntry, identity: Identity, dataText: string): Admission {
    const { rules, clock } = this.#context;
    const admission = admitEntry(
      rules,
      identity,
      entry.withData(dataText),
      clock.nowMs,
      entry.lookups.values,
    );
    entry.usesNow = admission.usesNow;
    entry.lookups.keepOnly(admission.lookups);
    return admission;
  }
}

import type { Identity } from "../auth/verify-token.ts";
import type { HeldLookups } from "../gateway/connection/held-lookups.ts";
import type { PresenceMember } from "../gateway/presence.ts";
import type { EntryToAdmit } from "../rules/admit-entry.ts";

/** Identifies the user and the tab behind an entry, for counts. */
export interface EntryOwner {
  readonly user: string;
  readonly tab: string;
}

/** The parts of an entry that never change. */
export interface EntryFacts {
  readonly id: string;
  readonly room: string;
  /** The `sub` of the user. */
  readonly user: string;
  /** The `iss` of the user, without which `user` may name different people; `null` where all tokens have one issuer. */
  readonly iss: string | null;
  readonly owner: EntryOwner;
  readonly since: Date;
}

/** An entry on this node: its client is connected here, or was until a moment ago. */
export class HeldEntry {
  readonly facts: EntryFacts;
  readonly lookups: HeldLookups;
  /** The connections that keep it, with the ids under which they do. Two of them while a client changes connections. */
  readonly members = new Map<PresenceMember, string>();
  /** The token by which its right is judged. */
  identity: Identity;
  /** As JSON. */
  dataText: string;
  /** Whether the saved data may differ from `dataText`, because a write has failed. */
  isUnsaved = false;
  /** Whether its right depends on `%%now`. */
  usesNow = false;
  /** Settles when the entry is saved, or was found to be. */
  opened: Promise<void> = Promise.resolve();
  /** When its last connection ended, on the monotonic clock; `null` while there is one. */
  goneAtMs: number | null = null;
  /** Whether it was refused before it existed, so that its clients receive an error. */
  isRefused = false;
  #isOver = false;

  constructor(facts: EntryFacts, identity: Identity, dataText: string, lookups: HeldLookups) {
    this.facts = facts;
    this.identity = identity;
    this.dataText = dataText;
    this.lookups = lookups;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The entry is not on this node any more. */
  end(): void {
    this.#isOver = true;
    this.lookups.release();
  }

  /** The entry as the rules judge it. */
  withData(dataText: string): EntryToAdmit {
    const { room, user, iss } = this.facts;
    return { room, user, ...(iss === null ? {} : { iss }), data: JSON.parse(dataText) };
  }
}

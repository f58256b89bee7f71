/**
 * Sees every write to the collection of the entries, also those of other nodes, and of anybody else. An entry of this node
 * may have been deleted, or name another lease now.
 */
import { BSON } from "mongodb";
import type { GuardParts } from "../metrics/guard.ts";
import type { StreamEvent } from "../source/change-event.ts";
import type { EntrySaver } from "./entry-saver.ts";
import type { HeldEntry } from "./held-entry.ts";

/** The parts that the watch works with. */
export interface EntryWatchParts extends Pick<GuardParts, "log"> {
  readonly saver: Pick<EntrySaver, "exists" | "keep">;
  /** The entries of this node, by id. */
  readonly held: ReadonlyMap<string, HeldEntry>;
  /** The entry does not exist any more. */
  readonly onLost: (entry: HeldEntry) => void;
}

/** Follows the collection of the entries. */
export class EntryWatch {
  readonly #parts: EntryWatchParts;

  constructor(parts: EntryWatchParts) {
    this.#parts = parts;
  }

  /** A change event of the collection. */
  observe(event: StreamEvent): void {
    const { held } = this.#parts;
    if (event.operation === "replaced-collection") {
      for (const entry of held.values()) this.#verify(entry);
      return;
    }
    const entry = held.get(String(BSON.deserialize(event.documentKey)["_id"]));
    if (entry === undefined) return;
    if (event.operation === "delete") this.#verify(entry);
    else if (entry.members.size > 0) this.#keep(entry, event.after);
  }

  /**
   * An entry of this node was deleted. This node may have done that itself before the client entered again. Otherwise the
   * client has left on another node, where it is connected now, or must enter again.
   */
  #verify(entry: HeldEntry): void {
    const check = async () => {
      await entry.opened;
      if (entry.isOver || (await this.#parts.saver.exists(entry.facts.id)) || entry.isOver) return;
      this.#parts.onLost(entry);
    };
    // A failed read changes nothing: the client enters again when it reconnects.
    check().catch((err: unknown) => this.#parts.log.debug({ err }, "an entry could not be checked"));
  }

  /** The same tab is, or was, connected to another node, which would delete the entry after the ttl. */
  #keep(entry: HeldEntry, after: Uint8Array | undefined): void {
    const node: unknown = after === undefined ? undefined : BSON.deserialize(after)["node"];
    this.#parts.saver
      .keep(entry.facts.id, String(node))
      // The claim is saved with a later renewal.
      .catch((err: unknown) => this.#parts.log.debug({ err }, "the claim of an entry waits"));
  }
}

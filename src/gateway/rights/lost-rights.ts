/**
 * Records the rights that users lost by a newer token. An earlier ticket must not resume across the time without the
 * right, not even under a token that grants it again. No token contains that time, so it is recorded: per user and
 * collection, because one rule gives all rights of a user in one collection. A collection is always a
 * `collectionDigest`: a ticket counts under every name that clients have for the collection.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Logger } from "pino";
import type { Metrics } from "../../metrics/metrics.ts";
import { TidewireError } from "../../protocol/errors.ts";

/** Reads and writes the record that all nodes share. */
export interface LostRightsStore {
  /**
   * Saves losses.
   * @param marks The mark of each right that is lost now.
   */
  save(marks: ReadonlyMap<string, string>, expiresAt: Date): Promise<void>;
  /** Reads the losses among these rights. */
  load(ids: readonly string[]): Promise<ReadonlyMap<string, Loss>>;
}

/** A right that a user lost by a token. */
export interface Loss {
  /** The cluster time of the loss. */
  readonly at: bigint;
  /**
   * Random, and different for each loss. A ticket contains the mark that its node knew, so a ticket that was sealed
   * after the loss differs from an earlier one even if nothing was written in between.
   */
  readonly mark: string;
}

/** The shared record of lost rights, with log and metrics. */
export interface LostRightsParts {
  readonly store: LostRightsStore;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "lostRights" | "lostRightsUnsaved">;
}

/** How long and how many losses are remembered. */
export interface LostRightsOptions {
  /** No ticket is older, so nothing must be remembered for longer. In milliseconds. */
  readonly maxAgeMs: number;
  /** How many are kept in memory, in addition to the state database. The oldest are evicted. */
  readonly entries: number;
}

/** Pause before the next attempt after a failed save, in milliseconds. */
const RETRY_MS = 1_000;

const MARK_BYTES = 6;

interface Known extends Loss {
  readonly expiresAtMs: number;
}

/** The rights that users have lost, as long as a ticket could still resume across the loss. */
export class LostRights {
  readonly #options: LostRightsOptions;
  readonly #parts: LostRightsParts;
  readonly #known = new Map<string, Known>();
  #unsaved = new Set<string>();
  /** Rights that are being saved at the moment. */
  #inSave: ReadonlySet<string> = new Set();
  #saving: Promise<void> | undefined;
  /** Rights that are read together in the next turn. */
  #asked: { readonly ids: Set<string>; readonly found: Promise<ReadonlyMap<string, Loss>> } | undefined;

  constructor(options: LostRightsOptions, parts: LostRightsParts) {
    this.#options = options;
    this.#parts = parts;
  }

  get size(): number {
    return this.#known.size;
  }

  /** The number of lost rights that are not saved yet. */
  get unsaved(): number {
    return this.#unsaved.size;
  }

  /**
   * A token of this user grants other rights in a collection than an older one, or none.
   * @param at The cluster time that this node has reached.
   */
  note(holder: string, collection: string, at: bigint, nowMs: number): void {
    const id = idOf(holder, collection);
    this.#remember(id, { at, mark: randomBytes(MARK_BYTES).toString("base64url") }, nowMs);
    this.#unsaved.add(id);
    this.#count();
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
  }

  /** The last loss of the right that this node knows; `null` if there is none. */
  known(holder: string, collection: string): Loss | null {
    return this.#known.get(idOf(holder, collection)) ?? null;
  }

  /**
   * Like `known`, for the losses that any node has seen. All requests of one turn share a read.
   * @throws {TidewireError} `unavailable`
   */
  async last(holder: string, collection: string, nowMs: number): Promise<Loss | null> {
    const id = idOf(holder, collection);
    if (this.#asked === undefined) {
      const ids = new Set<string>();
      const found = this.#load(ids);
      this.#asked = { ids, found };
    }
    this.#asked.ids.add(id);
    const saved = (await this.#asked.found).get(id) ?? null;
    const known = this.#known.get(id) ?? null;
    if (saved === null) return known;
    // A loss that is not saved yet is the latest one, and no ticket of another node can know it.
    if (known !== null && (this.#unsaved.has(id) || this.#inSave.has(id)))
      return { at: known.at > saved.at ? known.at : saved.at, mark: known.mark };
    if (known !== null && known.at > saved.at) return known;
    // The next tickets of this node must contain its mark.
    this.#remember(id, saved, nowMs);
    return saved;
  }

  async #load(ids: ReadonlySet<string>): Promise<ReadonlyMap<string, Loss>> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    this.#asked = undefined;
    try {
      return await this.#parts.store.load([...ids]);
    } catch (cause) {
      const text = "MongoDB cannot be reached just now: try again later";
      throw new TidewireError("unavailable", text, {}, { cause });
    }
  }

  /** Settles when every loss noted so far is saved. */
  async saved(): Promise<void> {
    while (this.#saving !== undefined) await this.#saving;
  }

  async #save(): Promise<void> {
    while (this.#unsaved.size > 0) {
      // All losses of one turn are saved together.
      await null;
      const ids = this.#unsaved;
      this.#unsaved = new Set();
      this.#inSave = ids;
      try {
        await this.#parts.store.save(this.#marksOf(ids), new Date(Date.now() + this.#options.maxAgeMs));
      } catch (error) {
        for (const id of ids) if (this.#known.has(id)) this.#unsaved.add(id);
        this.#parts.log.warn(
          { err: error, rights: ids.size },
          "lost rights could not be saved; trying again",
        );
        await new Promise<void>((resolve) => {
          setTimeout(resolve, RETRY_MS).unref();
        });
      }
      this.#inSave = new Set();
      this.#count();
    }
  }

  #count(): void {
    this.#parts.metrics.lostRights.set(this.#known.size);
    this.#parts.metrics.lostRightsUnsaved.set(this.#unsaved.size);
  }

  #marksOf(ids: ReadonlySet<string>): Map<string, string> {
    const marks = new Map<string, string>();
    for (const id of ids) {
      const known = this.#known.get(id);
      // Evicted before it could be saved. A mark that no ticket contains voids all tickets.
      marks.set(id, known?.mark ?? randomBytes(MARK_BYTES).toString("base64url"));
    }
    return marks;
  }

  #remember(id: string, { at, mark }: Loss, nowMs: number): void {
    this.#known.delete(id);
    this.#known.set(id, { at, mark, expiresAtMs: nowMs + this.#options.maxAgeMs });
    this.#forget(nowMs);
  }

  #forget(nowMs: number): void {
    for (const [id, { expiresAtMs }] of this.#known) {
      if (this.#known.size <= this.#options.entries && expiresAtMs > nowMs) break;
      this.#known.delete(id);
    }
  }
}

const idOf = (holder: string, collection: string): string =>
  createHash("sha256").update(`${holder}\0${collection}`).digest("base64url");

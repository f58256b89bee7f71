/**
 * Stores revocations. Nodes follow the collection through the change stream, so a revocation takes effect at a point in
 * the order of commits that is the same on every node. The format is strict, because a document that a node cannot read
 * would leave a revoked token accepted.
 */
import { BSON, type Collection } from "mongodb";
import { z } from "zod";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_READ, MAJORITY_TIMEOUT_MS, MAJORITY_WRITE, NoMajorityError } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** The name of the collection in the state database, without the prefix that it may have. */
export const REVOCATIONS = "revocations";

/** A revocation as it is saved. Its dates follow the clocks of the issuer and the nodes. */
const SavedRevocation = z.object({
  _id: z.unknown(),
  sub: z.string(),
  iss: z.string().nullable(),
  jti: z.string().nullable(),
  issuedBefore: z.date().nullable(),
  expiresAt: z.date(),
});
interface RevocationDocument {
  _id: string;
  sub: string;
  iss: string | null;
  jti: string | null;
  issuedBefore: Date | null;
  expiresAt: Date;
}

/** A page of the revocations in effect. */
export interface RevocationPage {
  readonly limit: number;
  /** Only revocations after the one with this id. */
  readonly after?: string | undefined;
  readonly sub?: string | undefined;
}

/** Tokens that are refused: all of a user up to a time, or the one with this `jti`. */
export interface Revocation {
  readonly sub: string;
  /** `null` covers every issuer. */
  readonly iss: string | null;
  readonly jti: string | null;
  /** Tokens issued at this time or earlier, in epoch milliseconds; `null` if `jti` names the token. */
  readonly issuedBeforeMs: number | null;
  /** In epoch milliseconds. */
  readonly expiresAtMs: number;
}

/**
 * The `_id` of a revocation. There is one document per user or token, so that a second revocation replaces the first.
 */
export const revocationId = ({ iss, sub, jti }: Pick<Revocation, "iss" | "sub" | "jti">): string =>
  JSON.stringify([iss, sub, jti]);

/**
 * Reads a saved revocation.
 * @throws {Error} The document is no revocation of this version.
 */
export function parseRevocation(raw: Uint8Array): Revocation {
  const { sub, iss, jti, issuedBefore, expiresAt } = SavedRevocation.parse(BSON.deserialize(raw));
  if ((issuedBefore === null) === (jti === null)) throw new TypeError("either issuedBefore or jti is set");
  return {
    sub,
    iss,
    jti,
    issuedBeforeMs: issuedBefore === null ? null : issuedBefore.getTime(),
    expiresAtMs: expiresAt.getTime(),
  };
}

/** The filter for revocations in effect: expired ones change nothing. */
export const notExpired = (nowMs: number) => ({ expiresAt: { $gt: new Date(nowMs) } });

const DUPLICATE_KEY = 11_000;
/** Each further attempt means that another writer has just written the same document. */
const ATTEMPTS_MAX = 10;

/** Writes revocations. Nodes read and follow the collection by themselves. */
export class RevocationStore {
  readonly #database: StateDatabase;
  readonly #expiry = new ExpiryIndex();

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<RevocationDocument> {
    return this.#database.collection<RevocationDocument>(REVOCATIONS);
  }

  /**
   * Saves a revocation. It takes effect at this commit on every node. Revoked tokens stay revoked: if the same tokens
   * are revoked twice, the later time and the later expiry apply.
   */
  async revoke(revocation: Revocation): Promise<void> {
    const _id = revocationId(revocation);
    for (let attempt = 1; ; attempt++) {
      const saved = await this.#collection.findOne({ _id }, MAJORITY_READ);
      const next = toDocument(_id, revocation, saved);
      try {
        // Whole documents instead of an update of some fields, because only then does a change event contain the whole
        // document.
        if (saved === null) {
          await this.#collection.insertOne(next, MAJORITY_WRITE);
          return;
        }
        if ((await this.#collection.replaceOne(saved, next, MAJORITY_WRITE)).matchedCount > 0) return;
      } catch (error) {
        if ((error as { code?: number }).code !== DUPLICATE_KEY) throw error; // another writer was faster; read its document and try again
      }
      if (attempt === ATTEMPTS_MAX) {
        // The primary has a document that the majority read does not return.
        throw new NoMajorityError("no majority has confirmed an earlier revocation of the same tokens yet");
      }
    }
  }

  /**
   * Removes a revocation.
   * @returns Whether it existed.
   */
  async undo(which: Pick<Revocation, "iss" | "sub" | "jti">): Promise<boolean> {
    const { deletedCount } = await this.#collection.deleteOne({ _id: revocationId(which) }, MAJORITY_WRITE);
    return deletedCount > 0;
  }

  /** The revocations that have not expired, by user. */
  async list(nowMs: number): Promise<Revocation[]> {
    const saved = await this.#collection
      .find(notExpired(nowMs), { ...MAJORITY_READ, raw: true })
      .sort({ sub: 1, _id: 1 })
      .toArray();
    return (saved as unknown as Buffer[]).map(parseRevocation); // with `raw` the driver returns bytes, against its own types
  }

  /** Some of the revocations that have not expired, in the order of their ids: by issuer and user. */
  async page({ limit, after, sub }: RevocationPage, nowMs: number): Promise<Revocation[]> {
    const filter = {
      ...notExpired(nowMs),
      ...(after === undefined ? {} : { _id: { $gt: after } }),
      ...(sub === undefined ? {} : { sub }),
    };
    const found = this.#collection
      .find(filter, { ...MAJORITY_READ, raw: true })
      .sort({ _id: 1 })
      .limit(limit);
    return ((await found.toArray()) as unknown as Buffer[]).map(parseRevocation); // as in `list`
  }

  /** Size of the revocations that have not expired, in bytes, as nodes count it. */
  async bytes(nowMs: number): Promise<number> {
    const [sum] = await this.#collection
      .aggregate<{ bytes: number }>(
        [{ $match: notExpired(nowMs) }, { $group: { _id: null, bytes: { $sum: { $bsonSize: "$$ROOT" } } } }],
        { maxTimeMS: MAJORITY_TIMEOUT_MS },
      )
      .toArray();
    return sum?.bytes ?? 0;
  }

  /**
   * Removes expired revocations, and creates the index that lets MongoDB do so from now on. Nothing depends on either,
   * because nodes ignore expired ones.
   */
  async cleanUp(nowMs: number): Promise<void> {
    await this.#collection.deleteMany({ expiresAt: { $lte: new Date(nowMs) } }, MAJORITY_WRITE);
    await this.#expiry.ensure(this.#collection);
  }
}

function toDocument(
  _id: string,
  { sub, iss, jti, issuedBeforeMs, expiresAtMs }: Revocation,
  saved: RevocationDocument | null,
): RevocationDocument {
  const issuedBefore =
    issuedBeforeMs === null ? null : new Date(Math.max(issuedBeforeMs, saved?.issuedBefore?.getTime() ?? 0));
  const expiresAt = new Date(Math.max(expiresAtMs, saved?.expiresAt.getTime() ?? 0));
  return { _id, sub, iss, jti, issuedBefore, expiresAt };
}

/** Size of a revocation in bytes, as nodes count it. */
export const revocationBytes = (revocation: Revocation): number =>
  BSON.calculateObjectSize(toDocument(revocationId(revocation), revocation, null));

import { BSON, type Collection } from "mongodb";
import { z } from "zod";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_READ, MAJORITY_WRITE, NoMajorityError } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** Its name in the state database, without the prefix that it may carry. */
export const REVOCATIONS = "revocations";

/** A revocation as it is saved. Dates are of the issuer's and the nodes' clocks. */
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

/** Tokens that are refused: every older one of a user, or the one with this `jti`. */
export interface Revocation {
  readonly sub: string;
  /** `null`: of every issuer. */
  readonly iss: string | null;
  readonly jti: string | null;
  /** Tokens issued at this time or earlier, in epoch milliseconds; `null` where `jti` names the token. */
  readonly issuedBeforeMs: number | null;
  /** In epoch milliseconds. */
  readonly expiresAtMs: number;
}

/** One document per user or token, so that a second revocation replaces the first. */
export const revocationId = ({ iss, sub, jti }: Pick<Revocation, "iss" | "sub" | "jti">): string =>
  JSON.stringify([iss, sub, jti]);

/** @throws The document is no revocation of this version. */
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

/** Which documents nodes read: expired ones have no effect. */
export const notExpired = (nowMs: number) => ({ expiresAt: { $gt: new Date(nowMs) } });

const DUPLICATE_KEY = 11_000;
/** Each attempt after the first one means that somebody else has just written the same document. */
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
   * Saves a revocation. It takes effect at this commit on every node. Revoked tokens stay revoked: of two revocations
   * of the same tokens the later time and the later expiry count.
   */
  async revoke(revocation: Revocation): Promise<void> {
    const _id = revocationId(revocation);
    for (let attempt = 1; ; attempt++) {
      const saved = await this.#collection.findOne({ _id }, MAJORITY_READ);
      const next = toDocument(_id, revocation, saved);
      try {
        // Whole documents, never an update of some fields: a change event holds the whole document only then.
        if (saved === null) {
          await this.#collection.insertOne(next, MAJORITY_WRITE);
          return;
        }
        if ((await this.#collection.replaceOne(saved, next, MAJORITY_WRITE)).matchedCount > 0) return;
      } catch (error) {
        if ((error as { code?: number }).code !== DUPLICATE_KEY) throw error; // somebody else's, a moment ago
      }
      if (attempt === ATTEMPTS_MAX) {
        // The primary has a document that the majority read does not return.
        throw new NoMajorityError("no majority has confirmed an earlier revocation of the same tokens yet");
      }
    }
  }

  /** @returns Whether there was such a revocation. */
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
    return (saved as unknown as Buffer[]).map(parseRevocation); // `raw` gives the bytes, which the driver's types do not say
  }

  /** Size of the revocations that have not expired, in bytes, as nodes count them. */
  async bytes(nowMs: number): Promise<number> {
    const [sum] = await this.#collection
      .aggregate<{ bytes: number }>([
        { $match: notExpired(nowMs) },
        { $group: { _id: null, bytes: { $sum: { $bsonSize: "$$ROOT" } } } },
      ])
      .toArray();
    return sum?.bytes ?? 0;
  }

  /** Removes what has expired, and lets MongoDB do the same from now on. Nothing depends on either. */
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

/** Bytes that a revocation takes, as nodes count them. */
export const revocationBytes = (revocation: Revocation): number =>
  BSON.calculateObjectSize(toDocument(revocationId(revocation), revocation, null));

import { createHash } from "node:crypto";
import type { EffectiveQuery } from "../../rules/authorize.ts";

/** 72 bits: enough to distinguish the collections of a configuration, and short enough to keep tickets small. */
const DIGEST_BYTES = 9;

type Namespace = Pick<EffectiveQuery, "database" | "collectionName">;

const digests = new WeakMap<Namespace, string>();

/**
 * Identifies the collection of a live query in its ticket and among the lost rights. It covers the names in MongoDB:
 * clients may know one collection by several names, and a ticket of one name counts for the others. Every digest has
 * the same size, so that the size of a ticket reveals no name.
 */
export function collectionDigest(query: Namespace): string {
  const known = digests.get(query);
  if (known !== undefined) return known;
  const { database, collectionName } = query;
  const hash = createHash("sha256").update(`${database}\0${collectionName}`).digest();
  const digest = hash.subarray(0, DIGEST_BYTES).toString("base64url");
  digests.set(query, digest);
  return digest;
}

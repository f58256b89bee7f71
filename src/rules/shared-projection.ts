import { createHash } from "node:crypto";
import type { Projection } from "../match/projection-fields.ts";

/** Projections in use, by the digest of their canonical text. */
const inUse = new Map<string, WeakRef<Projection>>();

const collected = new FinalizationRegistry<string>((key) => {
  // An equal projection may have been added since.
  if (inUse.get(key)?.deref() === undefined) inUse.delete(key);
});

/**
 * Returns the equal projection that is in use already, so that a thousand subscriptions with the same `fields` keep one
 * tree in memory.
 */
export function sharedProjection(projection: Projection, canonicalText: string): Projection {
  const key = createHash("sha256").update(canonicalText).digest("base64url");
  const known = inUse.get(key)?.deref();
  if (known !== undefined) return known;
  inUse.set(key, new WeakRef(projection));
  collected.register(projection, key);
  return projection;
}

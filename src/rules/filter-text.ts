/**
 * The text of a filter in keys. A rule may hold thousands of values, such as the rooms of a user, and each subscription
 * of that user has a key of its own, so a long list is part of a key only by its digest.
 */
import { createHash } from "node:crypto";
import { canonicalFilter, canonicalList } from "../match/canonical-filter.ts";
import type { Filter } from "../match/filter.ts";
import { remembered } from "../match/remembered.ts";

/** Lists with equal digests have the same values, so no two users share data because their lists became short. */
const digestOf = remembered((values: Parameters<typeof canonicalList>[0]) =>
  createHash("sha256").update(canonicalList(values)).digest("base64url"),
);

/** A text that is equal only for filters that match the same documents. */
export const filterText = (filter: Filter): string => canonicalFilter(filter, digestOf);

/**
 * The effect of an edit of the rules on an active subscription, as far as the rules alone show it. It compares
 * structure and reads no documents, so a plan costs nothing, however large the collections are.
 */
import { compareFilters, compareProjections, joinRelations, type Relation } from "../match/relation.ts";
import type { EffectiveQuery, Shown } from "./authorize.ts";

/** The access of a subscription afterwards. `changes`: more of some documents and fewer of others, or unknown. */
export type RightsEffect = "unchanged" | "gains" | "loses" | "changes";

const EFFECTS: Readonly<Record<Relation, RightsEffect>> = {
  equal: "unchanged",
  narrower: "loses",
  wider: "gains",
  other: "changes",
};

/**
 * Compares the query that a subscription follows with the one that it would follow: the documents and fields that may
 * be seen, not the documents that exist. For a window these are the documents of which it shows the first.
 */
export const rightsEffect = (from: EffectiveQuery, to: EffectiveQuery): RightsEffect =>
  from.key === to.key ? "unchanged" : shownEffect(from, to);

/** Like `rightsEffect`, for queries that have no key. */
export function shownEffect(from: Shown, to: Shown): RightsEffect {
  if (from.database !== to.database || from.collectionName !== to.collectionName) return "changes";
  const documents = compareFilters(from.filter, to.filter);
  return EFFECTS[joinRelations(documents, compareProjections(from.projection, to.projection))];
}

/** The effect of an edit of the rules on an active subscription, as far as the rules alone show it. */
import { compareFilters, compareProjections, joinRelations, type Relation } from "../match/relation.ts";
import type { EffectiveQuery } from "./authorize.ts";

/** The access of a subscription afterwards. `changes`: more of some and less of others, or unknown. */
export type RightsEffect = "unchanged" | "gains" | "loses" | "changes";

const EFFECTS: Readonly<Record<Relation, RightsEffect>> = {
  equal: "unchanged",
  narrower: "loses",
  wider: "gains",
  other: "changes",
};

/**
 * Compares what a subscription follows with what it would follow: documents and fields that may be seen, not those
 * that there are. Of a window that is what it shows the first documents of.
 */
export function rightsEffect(from: EffectiveQuery, to: EffectiveQuery): RightsEffect {
  if (from.key === to.key) return "unchanged";
  if (from.database !== to.database || from.collectionName !== to.collectionName) return "changes";
  const documents = compareFilters(from.filter, to.filter);
  return EFFECTS[joinRelations(documents, compareProjections(from.projection, to.projection))];
}

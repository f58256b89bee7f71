import type { EditPlan, EditProblems } from "../admin/plan-edit.ts";
import { AffectedUsers } from "../gateway/affected-users.ts";
import type { EffectCounts, SubscriptionsPlan } from "../gateway/plan-rules.ts";

type CollectionPlan = SubscriptionsPlan["collections"][number];
type RuleMove = CollectionPlan["rules"][number];

/** The effect of an edit on the subscriptions of all workers. Each worker reports the same problems. */
export function joinPlans(plans: readonly (EditPlan | EditProblems)[]): EditPlan | EditProblems {
  const fit: EditPlan[] = [];
  for (const plan of plans) {
    if ("problems" in plan) return plan;
    fit.push(plan);
  }
  const [first] = fit;
  if (first === undefined) throw new Error("no worker could be asked");
  return { ...first, live: fit.map(({ live }) => live).reduce(joinLive) };
}

function joinLive(a: SubscriptionsPlan, b: SubscriptionsPlan): SubscriptionsPlan {
  const collections = joinBy(
    [...a.collections, ...b.collections],
    ({ collection }) => collection,
    joinCollections,
  );
  const affected = new AffectedUsers();
  for (const user of [...a.affected, ...b.affected]) affected.add(user);
  return {
    connections: a.connections + b.connections,
    subscriptions: a.subscriptions + b.subscriptions,
    newLiveQueries: a.newLiveQueries + b.newLiveQueries,
    collections: collections.sort((one, other) => (one.collection < other.collection ? -1 : 1)),
    affected: affected.sample(),
  };
}

function joinCollections(a: CollectionPlan, b: CollectionPlan): CollectionPlan {
  const keyOf = ({ from, to }: RuleMove) => JSON.stringify([from, to]);
  const rules = joinBy([...a.rules, ...b.rules], keyOf, (one, other) => ({
    ...one,
    effects: add(one.effects, other.effects),
  }));
  return { collection: a.collection, effects: add(a.effects, b.effects), rules };
}

function add(a: EffectCounts, b: EffectCounts): EffectCounts {
  const sums = { ...a };
  for (const effect of Object.keys(sums) as (keyof EffectCounts)[]) sums[effect] += b[effect]; // `keys` forgets them
  return sums;
}

/** Those of one key become one, in the order in which the keys came. */
function joinBy<T>(list: readonly T[], keyOf: (item: T) => string, join: (a: T, b: T) => T): T[] {
  const joined = new Map<string, T>();
  for (const item of list) {
    const key = keyOf(item);
    const known = joined.get(key);
    joined.set(key, known === undefined ? item : join(known, item));
  }
  return [...joined.values()];
}

/** The words for the effect of a draft on subscriptions. */
import type { Plan } from "./problem.ts";

type Collection = Plan["live"]["collections"][number];

/** The numbers of subscriptions by effect. */
export type Effects = Collection["effects"];

/** Effects that an admin should notice. */
export const SERIOUS = new Set<keyof Effects>(["loses", "changes", "ends"]);

/** The rule that applies now, and the one that would, if it is another. */
export const rulesText = ({ from, to }: Pick<Collection["rules"][number], "from" | "to">): string =>
  from === to ? (to ?? "no rule") : `${from ?? "no rule"} → ${to ?? "no rule"}`;

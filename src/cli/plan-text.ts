/** The output of `tidewire plan`. */

import type { EditPlan } from "../admin/plan-edit.ts";
import type { AffectedUser } from "../gateway/affected-users.ts";
import type { EffectCounts } from "../gateway/plan-rules.ts";
import { amount } from "../protocol/amount.ts";
import {
  type CollectionDiff,
  isSameRules,
  type PartDiff,
  type RuleDiff,
  type RulesDiff,
} from "../rules/diff-rules.ts";

/** The differences between two rule sets, as text for a terminal. */
export function diffText(diff: RulesDiff): string {
  if (isSameRules(diff)) return "no rule is another";
  const limits =
    diff.limits.length === 0 ? [] : ["limits", ...diff.limits.flatMap((part) => partLines(part, "  "))];
  return [...diff.collections.flatMap(collectionLines), ...limits].join("\n");
}

function collectionLines({ collection, change, parts, rules }: CollectionDiff): string[] {
  if (change === "removed") return [`${collection}: gone; its subscriptions end`];
  const head = change === "added" ? `${collection}: new` : collection;
  return [head, ...parts.flatMap((part) => partLines(part, "  ")), ...rules.flatMap(ruleLines)];
}

const SIGN = { added: "+", removed: "-", changed: "~", renamed: "~" } as const;

function ruleLines({ rule, change, note, parts }: RuleDiff): string[] {
  const head = `  ${SIGN[change]} ${rule}${note === null ? "" : `, ${note}`}`;
  return [head, ...parts.flatMap((part) => partLines(part, "      "))];
}

/** Wide enough for the usual parts. */
const PART_WIDTH = 8;

function partLines({ part, effect, from, to }: PartDiff, indent: string): string[] {
  const label = `${indent}${part.padEnd(PART_WIDTH)}`;
  if (effect === "") return [`${label} ${to}`];
  const below = indent + " ".repeat(PART_WIDTH + 1);
  const texts = from === to ? [to] : [from === null ? null : `- ${from}`, to === null ? null : `+ ${to}`];
  return [`${label} ${effect}`, ...texts.flatMap((text) => (text === null ? [] : [below + text]))];
}

const COLUMNS = ["unchanged", "gains", "loses", "changes", "ends", "unknown"] as const;

/** The effect of an edit on the active subscriptions, as a table for a terminal. */
export function liveText({ generation, live }: EditPlan): string {
  const rows = live.collections.flatMap(({ collection, effects, rules }): [string, EffectCounts][] => [
    [`  ${collection}`, effects],
    ...rules.map(({ from, to, effects: own }): [string, EffectCounts] => [
      `    ${rulesText({ from, to })}`,
      own,
    ]),
  ]);
  const width = Math.max(20, ...rows.map(([label]) => label.length));
  const line = (label: string, cells: readonly string[]) =>
    `${label.padEnd(width)}${cells.map((cell, index) => cell.padStart((COLUMNS[index]?.length ?? 0) + 2)).join("")}`;
  const head = `live: ${amount(live.subscriptions, "subscription")} of ${amount(live.connections, "connection")}, rules of generation ${generation}`;
  return [
    head,
    ...(rows.length === 0 ? [] : [line("", COLUMNS)]),
    ...rows.map(([label, effects]) =>
      line(
        label,
        COLUMNS.map((column) => String(effects[column])),
      ),
    ),
    ...affectedLines(live.affected),
    `  ${amount(live.newLiveQueries, "live query", "live queries")} that nobody follows now: at most so many snapshots would be read`,
    "nothing was applied",
  ].join("\n");
}

const rulesText = ({ from, to }: Pick<AffectedUser, "from" | "to">) =>
  `${from === to ? "" : `${from ?? "no rule"} → `}${to ?? "no rule"}`;

const EFFECT_WIDTH = Math.max(...COLUMNS.map((column) => column.length));

function affectedLines(users: readonly AffectedUser[]): string[] {
  if (users.length === 0) return [];
  const lines = users.map(({ effect, collection, from, to, ...user }) => {
    return `    ${effect.padEnd(EFFECT_WIDTH)}  ${nameOf(user)} on ${collection}, ${rulesText({ from, to })}`;
  });
  return ["  a sample of the affected users:", ...lines];
}

function nameOf({ sub, isAnonymous }: Pick<AffectedUser, "sub" | "isAnonymous">): string {
  if (isAnonymous) return "anonymous";
  return sub === null ? "a token without sub" : printable(JSON.stringify(sub));
}

/** Escapes every character that a terminal does not show as it is: a `sub` is the text of another system. */
const printable = (text: string) =>
  text.replaceAll(/\p{C}/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);

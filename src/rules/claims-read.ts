/** The claims that the rules of a collection read. All others of a token are of no interest to a record of requests. */
import { bindFilter } from "../match/bind-filter.ts";
import { fromJs } from "../match/bson-value.ts";
import type { FilterTemplate, Placeholder } from "../match/filter.ts";
import { filterPaths } from "../match/filter-paths.ts";
import { readClaimPath, writeClaimParts } from "./claim-path.ts";
import type { Claims } from "./claims.ts";
import type { CollectionRules } from "./compile-rules.ts";
import { whenKey } from "./when-document.ts";

/** The names of nested members that lead to a claim. */
export type ClaimParts = readonly string[];

const known = new WeakMap<CollectionRules, readonly ClaimParts[]>();

/** The claims that any rule of a collection reads, each once. */
export function claimsReadBy(collection: CollectionRules): readonly ClaimParts[] {
  const before = known.get(collection);
  if (before !== undefined) return before;
  const found = new Map<string, ClaimParts>();
  const add = (text: string) => {
    const { parts } = readClaimPath(text) ?? { parts: [] };
    if (parts.length > 0) found.set(writeClaimParts(parts), parts);
  };
  for (const { when, filter } of collection.rules) {
    if (when !== null) for (const path of filterPaths(when)) add(whenKey(path));
    addPlaceholders(filter, add);
  }
  for (const { filter } of collection.lookups.values()) addPlaceholders(filter, add);
  const all = [...found.values()];
  known.set(collection, all);
  return all;
}

function addPlaceholders(template: FilterTemplate, add: (text: string) => void): void {
  const take = ({ placeholder }: Placeholder) => add(placeholder);
  bindFilter(template, {
    one: (operand) => {
      take(operand);
      return fromJs(0);
    },
    many: (operand) => {
      take(operand);
      return [];
    },
  });
}

/** The part of the claims that lies on the given paths. A list is kept whole. */
export function onlyClaims(claims: Claims, paths: readonly ClaimParts[]): Claims {
  const kept: Record<string, unknown> = Object.create(null);
  for (const parts of paths) copy(claims, kept, parts);
  return { ...kept };
}

function copy(from: unknown, to: Record<string, unknown>, parts: ClaimParts): void {
  const [name = "", ...rest] = parts;
  if (typeof from !== "object" || from === null || !Object.hasOwn(from, name)) return;
  const value = (from as Record<string, unknown>)[name]; // the condition has checked that it is an object with this key
  if (rest.length === 0 || typeof value !== "object" || value === null || Array.isArray(value)) {
    to[name] = value;
    return;
  }
  const inner = to[name] ?? Object.create(null);
  if (typeof inner === "object" && inner !== null && inner !== value) {
    // A plain object that this function made, or the whole value, which an earlier path has taken.
    copy(value, inner as Record<string, unknown>, rest);
    to[name] = inner;
  }
}

/** Whether a claim was recorded: one of the recorded paths is the claim itself or contains it. */
export const isRecorded = (parts: ClaimParts, recorded: readonly ClaimParts[]): boolean =>
  recorded.some((path) => path.every((name, at) => parts[at] === name));

import { flowPositionAt } from "./flow-path.ts";
import { yamlPositionAt } from "./yaml-path.ts";

/** The names that are wanted at the cursor, and the text of them that is there already. */
export type NamesWanted =
  | { readonly kind: "claim"; readonly word: string; readonly conversion: string }
  | { readonly kind: "collection"; readonly word: string; readonly isKey: boolean }
  | {
      readonly kind: "field";
      readonly word: string;
      readonly collection: string;
      /** The array whose elements a filter is about, with a dot; empty for the document itself. */
      readonly below: string;
      readonly isKey: boolean;
    };

/** The path to a place in a text. */
interface Steps {
  readonly path: readonly (string | number)[];
  readonly isKey: boolean;
}

const CLAIM = /%%((?:(?:oid|date|words):)?)[\w.]*$/;
const WORD = /[\p{L}\p{N}_.-]*$/u;
const BLOCK_LINE = /^( *(?:- +)*)(?:((?:"[^"]*"|'[^']*'|[^\s#:{["'][^:#]*?)\s*:\s+))?([{[].*)$/;

/** @returns `null` where neither collections, fields nor claims have names. */
export function namesWantedAt(before: string): NamesWanted | null {
  const claim = CLAIM.exec(before);
  if (claim !== null) {
    const [word, conversion = ""] = claim;
    const isInRules = stepsAt(startOf(before, word))?.path[0] === "collections";
    return isInRules ? { kind: "claim", word, conversion } : null;
  }
  const word = WORD.exec(before)?.[0] ?? "";
  const steps = stepsAt(startOf(before, word));
  if (steps === null) return null;
  if (isCollection(steps)) return { kind: "collection", word, isKey: steps.isKey };
  const [root, collection, rules, rule, part, ...rest] = steps.path;
  if (root !== "collections" || typeof collection !== "string") return null;
  if (rules !== "rules" || typeof rule !== "number") return null;
  const below = part === "filter" && steps.isKey ? belowIn(rest) : null;
  if (below !== null) return { kind: "field", word, collection, below, isKey: true };
  const [list, index] = rest;
  const isList =
    (part === "fields" && /^(in|ex)clude$/.test(String(list))) || `${part}.${list}` === "allow.sort";
  if (!isList || typeof index !== "number" || rest.length > 2) return null;
  return { kind: "field", word, collection, below: "", isKey: false };
}

/** Whether a collection is named there: as a key of the rules, or as the collection behind one or behind a lookup. */
function isCollection({ path, isKey }: Steps): boolean {
  const [root, ...below] = path;
  if (root !== "collections") return false;
  if (isKey) return below.length === 0;
  const isOfLookup = below.length === 4 && below[1] === "lookups";
  return below.at(-1) === "collection" && (below.length === 2 || isOfLookup);
}

/** The text before a word and its opening quote. */
const startOf = (before: string, word: string): string =>
  before.slice(0, before.length - word.length).replace(/["']$/, "");

/** The whole path at the end of a text, through blocks and brackets. Brackets of earlier lines are not seen. */
function stepsAt(before: string): Steps | null {
  const lineStart = before.lastIndexOf("\n") + 1;
  const line = before.slice(lineStart);
  if (line.trimStart().startsWith("#")) return null;
  const [, indent = "", key, flow] = BLOCK_LINE.exec(line) ?? [];
  const block = yamlPositionAt(flow === undefined ? before : before.slice(0, before.length - flow.length));
  const path = block.key === null ? block.path : [...block.path, block.key];
  if (flow === undefined) return { path, isKey: block.isKey };
  if (key === undefined && !indent.endsWith("- ")) return null;
  const position = flowPositionAt(flow);
  return position === null ? null : { path: [...path, ...position.path], isKey: position.isKey };
}

/** The array to whose elements the fields at this place of a filter belong; `null` if no fields are named there. */
function belowIn(steps: readonly (string | number)[]): string | null {
  let below = "";
  let rest = steps;
  while (rest.length > 0) {
    const [name = "", next, ...others] = rest;
    if (/^\$(and|or|nor)$/.test(String(name)) && typeof next === "number") rest = others;
    else if (typeof name === "string" && !name.startsWith("$") && next === "$elemMatch") {
      below += `${name}.`;
      rest = others;
    } else return null;
  }
  return below;
}

/**
 * `%%user.…` and the other placeholders: their syntax and their values. A claim that is missing or has an unexpected
 * form refuses the user instead of matching something unexpected, because `{ owner: null }` would find documents
 * without an owner.
 */
import { Long, ObjectId } from "mongodb";
import type { PlaceholderResolver } from "../match/bind-filter.ts";
import { type BsonValue, fromJs } from "../match/bson-value.ts";
import type { Placeholder } from "../match/filter.ts";
import {
  type ClaimPath,
  claimAt,
  impossibleClaim,
  readClaimPath,
  wordsOf,
  writeClaimParts,
} from "./claim-path.ts";

/** The claims of a user: the verified payload of a token. */
export type Claims = Readonly<Record<string, unknown>>;

/** A claim that the rule needs is missing, or does not fit where the rule uses it. */
export class ClaimRefused extends Error {
  override readonly name = "ClaimRefused";
}

/** A text that looks like a placeholder and is none. The message says what may be written. */
export class PlaceholderRefused extends Error {
  override readonly name = "PlaceholderRefused";
}

/** The placeholder for the current time. */
export const NOW = "%%now";

/**
 * The value of `%%now` in epoch milliseconds. Rounding makes grants equal within a step, so that they share one live
 * query.
 */
export const roundNow = (nowMs: number, stepMs: number): number => Math.floor(nowMs / stepMs) * stepMs;

const LOOKUP = /^%%lookup\.([A-Za-z0-9_-]+)$/;
const LOOKS_LIKE_ONE = /%%[A-Za-z]/;

/** The lookup that a placeholder names; `undefined` for a claim. */
export const lookupOf = ({ placeholder }: Placeholder): string | undefined => LOOKUP.exec(placeholder)?.[1];

/**
 * Distinguishes a placeholder from an ordinary string.
 * @param lookups Names that are allowed after `%%lookup.`.
 * @throws {PlaceholderRefused} The text is neither clearly.
 */
export function readPlaceholder(text: string, lookups: readonly string[] = []): Placeholder | undefined {
  if (text === NOW) return { placeholder: text };
  const claim = readClaimPath(text);
  if (claim !== undefined) {
    const fault = impossibleClaim(claim);
    if (fault !== undefined) throw new PlaceholderRefused(fault);
    return { placeholder: text };
  }
  if (!LOOKS_LIKE_ONE.test(text)) return undefined;
  const lookup = LOOKUP.exec(text)?.[1];
  if (lookup !== undefined && lookups.includes(lookup)) return { placeholder: text };
  if (/^%%lookup\./.test(text)) {
    const known = lookups.length === 0 ? "none here" : `only ${lookups.join(", ")}`;
    throw new PlaceholderRefused(`there is no lookup of this name, ${known}. Add it under lookups`);
  }
  // The text itself is not repeated, because it may contain the value of an environment variable.
  const forms = "%%user.claim, %%oid:user.claim, %%date:user.claim, %%words:user.claim or %%now";
  throw new PlaceholderRefused(
    `a string with %%… in it is not a claim. Write exactly ${forms}, and nothing around it; a name with dots stands in quotes: %%user["a.b"]`,
  );
}

/**
 * Supplies the values of a rule's placeholders for these claims. It throws `ClaimRefused`.
 * @param nowMs The time, rounded by `roundNow`, in epoch milliseconds.
 */
export function claimResolver(
  claims: Claims,
  nowMs: number,
  lookUpSet: (name: string) => readonly BsonValue[] = () => [],
): PlaceholderResolver {
  return {
    one(operand) {
      if (operand.placeholder === NOW) return fromJs(new Date(nowMs));
      const { claim, convert } = lookUp(claims, operand);
      return convert(claim);
    },
    many(operand) {
      const lookup = lookupOf(operand);
      if (lookup !== undefined) return lookUpSet(lookup);
      if (operand.placeholder === NOW) throw new ClaimRefused("%%now is one value, and a list is needed");
      const { claim, convert, conversion, name } = lookUp(claims, operand);
      if (conversion === "words") return wordsOf(textOf(claim, name)).map((word) => fromJs(word));
      if (!Array.isArray(claim)) throw new ClaimRefused(`${name} is not a list, and a list is needed`);
      return claim.map(convert);
    },
  };
}

interface LookedUp {
  readonly claim: unknown;
  readonly conversion: ClaimPath["conversion"];
  /** The notation of rules, for explanations. */
  readonly name: string;
  readonly convert: (value: unknown) => BsonValue;
}

/** The claim of each placeholder, and its name for explanations. A rule is bound for every user. */
const claimsOf = new WeakMap<Placeholder, ClaimPath & { readonly name: string }>();

function claimOf(operand: Placeholder): ClaimPath & { readonly name: string } {
  const known = claimsOf.get(operand);
  if (known !== undefined) return known;
  const path = readClaimPath(operand.placeholder) ?? { conversion: undefined, parts: [] };
  const named = { ...path, name: `the claim ${JSON.stringify(nameOf(path.parts))}` };
  claimsOf.set(operand, named);
  return named;
}

function lookUp(claims: Claims, operand: Placeholder): LookedUp {
  const { conversion, parts, name } = claimOf(operand);
  const claim = claimAt(claims, parts);
  if (claim === undefined) throw new ClaimRefused(`${name} is missing`);
  const convert = (value: unknown) => fromJs(toValue(value, conversion, name));
  return { claim, conversion, name, convert };
}

/** The name of a claim in a sentence: a single name unchanged, several in the notation of rules. */
const nameOf = (parts: readonly string[]): string =>
  parts.length === 1 ? (parts[0] ?? "") : writeClaimParts(parts).replace(/^\./, "");

function textOf(value: unknown, name: string): string {
  if (typeof value !== "string") throw new ClaimRefused(`${name} is not a string, and words are needed`);
  return value;
}

function toValue(value: unknown, conversion: ClaimPath["conversion"], name: string): unknown {
  if (conversion === "words")
    throw new ClaimRefused(`the words of ${name} are a list, and one value is needed`);
  if (Array.isArray(value)) throw new ClaimRefused(`${name} is a list, and one value is needed`);
  if (typeof value === "object" || value === undefined) {
    // Null is refused as well, because it would match all documents without the field.
    throw new ClaimRefused(`${name} is ${value === null ? "null" : "an object"}, and a value is needed`);
  }
  if (conversion === "oid") return toObjectId(value, name);
  if (conversion === "date") return toDate(value, name);
  if (typeof value === "number" && Number.isInteger(value)) return toInteger(value, name);
  return value;
}

function toInteger(value: number, name: string): unknown {
  // JSON has rounded the number already, so it may now be the number of another user.
  if (!Number.isSafeInteger(value)) throw new ClaimRefused(`${name} is beyond 2^53; issue it as a string`);
  return value === (value | 0) ? value : Long.fromNumber(value);
}

function toObjectId(value: unknown, name: string): ObjectId {
  if (typeof value !== "string" || !/^[0-9a-fA-F]{24}$/.test(value)) {
    throw new ClaimRefused(`${name} is not an ObjectId (24 hex digits)`);
  }
  return new ObjectId(value);
}

const ISO_DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

/** Parses a date in ISO 8601, or a NumericDate (RFC 7519, section 2), which counts seconds. */
function toDate(value: unknown, name: string): Date {
  const isText = typeof value === "string" && ISO_DATE.test(value);
  const date = new Date(isText ? value : typeof value === "number" ? value * 1_000 : Number.NaN);
  if (Number.isNaN(date.getTime())) {
    throw new ClaimRefused(`${name} is not a date (ISO 8601 with its zone, or seconds since 1970)`);
  }
  return date;
}

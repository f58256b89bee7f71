/** `%%user.…` and its relatives: how they are written, and the values that they stand for. */
import { Long, ObjectId } from "mongodb";
import type { PlaceholderResolver } from "../match/bind-filter.ts";
import { type BsonValue, fromJs } from "../match/bson-value.ts";
import type { Placeholder } from "../match/filter.ts";

/** Whom a rule speaks about: the verified payload of a token. */
export type Claims = Readonly<Record<string, unknown>>;

/** A claim that the rule needs is not there, or cannot stand where the rule puts it. */
export class ClaimRefused extends Error {
  override readonly name = "ClaimRefused";
}

/** A text that looks like a placeholder and is none; the message says what may be written. */
export class PlaceholderRefused extends Error {
  override readonly name = "PlaceholderRefused";
}

/** The placeholder for the time. */
export const NOW = "%%now";

/** The value of `%%now`: equal grants within a step share one live query. */
export const roundNow = (nowMs: number, stepMs: number): number => Math.floor(nowMs / stepMs) * stepMs;

const LOOKUP = /^%%lookup\.([A-Za-z0-9_-]+)$/;
const PLACEHOLDER = /^%%(?:(oid|date):)?user((?:\.[^.]+)+)$/;
const LOOKS_LIKE_ONE = /%%[A-Za-z]/;

/** The lookup that a placeholder names; `undefined` for a claim. */
export const lookupOf = ({ placeholder }: Placeholder): string | undefined => LOOKUP.exec(placeholder)?.[1];

/** Tells a placeholder from an ordinary string.
 * @param lookups Names that may stand after `%%lookup.`.
 * @throws {PlaceholderRefused} where it is neither clearly.
 */
export function readPlaceholder(text: string, lookups: readonly string[] = []): Placeholder | undefined {
  if (PLACEHOLDER.test(text) || text === NOW) return { placeholder: text };
  if (!LOOKS_LIKE_ONE.test(text)) return undefined;
  const lookup = LOOKUP.exec(text)?.[1];
  if (lookup !== undefined && lookups.includes(lookup)) return { placeholder: text };
  if (/^%%lookup\./.test(text)) {
    const known = lookups.length === 0 ? "none here" : `only ${lookups.join(", ")}`;
    throw new PlaceholderRefused(`there is no lookup of this name, ${known}. Add it under lookups`);
  }
  // The text itself is not repeated: an environment variable may be in it.
  const forms = "%%user.claim, %%oid:user.claim, %%date:user.claim or %%now";
  throw new PlaceholderRefused(
    `a string with %%… in it is not a claim. Write exactly ${forms}, and nothing around it`,
  );
}

/** The claim under a dotted path. Own properties of plain objects only: `constructor` is a claim like any other. */
export function claimAt(claims: Claims, path: string): unknown {
  let value: unknown = claims;
  for (const part of path.split(".")) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    if (!Object.hasOwn(value, part)) return undefined;
    // Own properties of an object that came from JSON; any key may be asked for.
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/**
 * The values of a rule's placeholders for these claims; it throws `ClaimRefused`.
 * @param nowMs The time, rounded by `roundNow`.
 */
export function claimResolver(
  claims: Claims,
  nowMs: number,
  lookUpSet: (name: string) => readonly BsonValue[] = () => [],
): PlaceholderResolver {
  return {
    one({ placeholder }) {
      if (placeholder === NOW) return fromJs(new Date(nowMs));
      const { claim, convert } = lookUp(claims, placeholder);
      return convert(claim);
    },
    many({ placeholder }) {
      const lookup = lookupOf({ placeholder });
      if (lookup !== undefined) return lookUpSet(lookup);
      if (placeholder === NOW) throw new ClaimRefused("%%now is one value, and a list is needed");
      const { claim, convert, name } = lookUp(claims, placeholder);
      if (!Array.isArray(claim)) throw new ClaimRefused(`${name} is not a list, and a list is needed`);
      return claim.map(convert);
    },
  };
}

interface LookedUp {
  readonly claim: unknown;
  /** As rules name it, for explanations. */
  readonly name: string;
  readonly convert: (value: unknown) => BsonValue;
}

function lookUp(claims: Claims, placeholder: string): LookedUp {
  const [, conversion, dotted = ""] = PLACEHOLDER.exec(placeholder) ?? [];
  const path = dotted.slice(1);
  const name = `the claim ${JSON.stringify(path)}`;
  const claim = claimAt(claims, path);
  if (claim === undefined) throw new ClaimRefused(`${name} is missing`);
  const convert = (value: unknown) => fromJs(toValue(value, conversion, name));
  return { claim, name, convert };
}

function toValue(value: unknown, conversion: string | undefined, name: string): unknown {
  if (Array.isArray(value)) throw new ClaimRefused(`${name} is a list, and one value is needed`);
  if (typeof value === "object" || value === undefined) {
    // Null too: it would find the documents that have no such field at all.
    throw new ClaimRefused(`${name} is ${value === null ? "null" : "an object"}, and a value is needed`);
  }
  if (conversion === "oid") return toObjectId(value, name);
  if (conversion === "date") return toDate(value, name);
  if (typeof value === "number" && Number.isInteger(value)) return toInteger(value, name);
  return value;
}

function toInteger(value: number, name: string): unknown {
  // JSON has lost digits already: this may be somebody else's number.
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

/** A date as ISO 8601, or as a NumericDate (RFC 7519, section 2): seconds. */
function toDate(value: unknown, name: string): Date {
  const isText = typeof value === "string" && ISO_DATE.test(value);
  const date = new Date(isText ? value : typeof value === "number" ? value * 1_000 : Number.NaN);
  if (Number.isNaN(date.getTime())) {
    throw new ClaimRefused(`${name} is not a date (ISO 8601 with its zone, or seconds since 1970)`);
  }
  return date;
}

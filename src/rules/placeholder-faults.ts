/**
 * Finds `%%…` where it has no meaning, before the filter is parsed, so that each is reported with its path. A
 * placeholder in the wrong position would otherwise be compared as ordinary text and match nothing, or everything under
 * `$ne`.
 */
import { impossibleClaim, readClaimPath } from "./claim-path.ts";
import { PlaceholderRefused, readPlaceholder } from "./claims.ts";

/** The part of a rule to which a filter belongs. */
export type RulePart = "filter" | "when";

/** A placeholder that has no meaning where it is used. */
export interface Fault {
  /** Dotted keys, from the filter on. */
  readonly at: string;
  readonly message: string;
}

const LOGICAL = new Set(["$and", "$or", "$nor"]);

/** All misplaced `%%…` in a filter over documents or a `when` over claims. */
export function placeholderFaults(
  input: Readonly<Record<string, unknown>>,
  part: RulePart,
  lookups: readonly string[] = [],
): Fault[] {
  return [...branchFaults(input, { part, lookups }, "")];
}

/** The context that decides which placeholders are allowed. */
interface Allowed {
  readonly part: RulePart;
  readonly lookups: readonly string[];
}

/** Keys here name a path: of the document in a filter, of the claims in a `when`. */
function* branchFaults(
  branch: Readonly<Record<string, unknown>>,
  allowed: Allowed,
  at: string,
): Generator<Fault> {
  const { part } = allowed;
  for (const [key, value] of Object.entries(branch)) {
    const here = join(at, key);
    if (LOGICAL.has(key) && Array.isArray(value)) {
      for (const [index, inner] of value.entries()) {
        if (isEntries(inner)) yield* branchFaults(inner, allowed, join(here, String(index)));
      }
      continue;
    }
    if (part === "filter" && key.includes("%%")) {
      yield {
        at: here,
        message: "a key of a filter is a path of the document. Write claims on the right of it",
      };
    }
    if (part === "when" && !key.startsWith("$")) {
      const message = whenKeyFault(key);
      if (message !== undefined) yield { at: here, message };
    }
    yield* valueFaults(value, allowed, here);
  }
}

function whenKeyFault(key: string): string | undefined {
  const claim = readClaimPath(key);
  if (claim === undefined) return 'a when sees claims only, no document. Write "%%user.claim" as the key';
  if (claim.conversion === "oid" || claim.conversion === "date")
    return `a when compares claims as they are. Write %%user, or %%words:user for the words of a string`;
  return impossibleClaim(claim);
}

function* valueFaults(value: unknown, allowed: Allowed, at: string): Generator<Fault> {
  if (typeof value === "string") {
    const message = textFault(value, allowed);
    if (message !== undefined) yield { at, message };
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield* valueFaults(item, allowed, join(at, String(index)));
  } else if (isEntries(value)) {
    for (const [key, item] of Object.entries(value)) {
      const here = join(at, key);
      if (key.includes("%%"))
        yield { at: here, message: "a claim cannot be a key here. Write it on the right" };
      else if (allowed.part === "when" && key.includes(".") && !key.startsWith("$"))
        yield {
          at: here,
          message:
            'a name with dots cannot be compared within an object. Write the member itself on the left: %%user.claim["a.b"]',
        };
      yield* valueFaults(item, allowed, here);
    }
  }
}

function textFault(text: string, { part, lookups }: Allowed): string | undefined {
  try {
    if (readPlaceholder(text, lookups) === undefined || part === "filter") return undefined;
    return 'in a when, claims stand on the left. Write { "%%user.claim": value }';
  } catch (error) {
    if (error instanceof PlaceholderRefused) return error.message;
    throw error;
  }
}

const join = (at: string, key: string) => (at === "" ? key : `${at}.${key}`);

function isEntries(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

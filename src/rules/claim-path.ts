/**
 * How rules name a claim: `%%user.a.b`, with `["…"]` around a name that holds dots, such as the URLs that some issuers
 * use as names: `%%user["https://example.com/roles"].0`.
 */

/** The form into which a rule brings a claim. */
export type Conversion = "oid" | "date" | "words";

/** A claim as a rule names it. */
export interface ClaimPath {
  readonly conversion: Conversion | undefined;
  /** Names of members, one inside the other; a number may also be a position in a list. */
  readonly parts: readonly string[];
}

const NAME = String.raw`\.(?:(?!\["|\.)[\s\S])+`;
const QUOTED = String.raw`\["(?:[^"\\]|\\.)+"\]`;
const CLAIM = new RegExp(`^%%(?:(oid|date|words):)?user((?:${NAME}|${QUOTED})+)$`);
const PART = new RegExp(`${NAME}|${QUOTED}`, "g");

/** Reads the name of a claim; `undefined` for any other text. */
export function readClaimPath(text: string): ClaimPath | undefined {
  const [, conversion, path = ""] = CLAIM.exec(text) ?? [];
  const parts: string[] = [];
  for (const [part] of path.matchAll(PART)) {
    const name = part.startsWith(".") ? part.slice(1) : unquote(part);
    if (name === undefined) return undefined;
    parts.push(name);
  }
  // The expression allows no other conversion.
  return parts.length === 0 ? undefined : { conversion: conversion as Conversion | undefined, parts };
}

/** The name in `["…"]`, a string of JSON; `undefined` where it is none. */
function unquote(part: string): string | undefined {
  try {
    return JSON.parse(part.slice(1, -1)) as string; // a text in double quotes can be nothing else
  } catch {
    // An escape that JSON does not know: the caller refuses the whole text.
    return undefined;
  }
}

/** Writes the name of a claim as rules do, without `%%user`. */
export const writeClaimParts = (parts: readonly string[]): string =>
  parts
    .map((part) =>
      part === "" || part.includes(".") || part.includes('["') ? `[${JSON.stringify(part)}]` : `.${part}`,
    )
    .join("");

/** Claims to which RFC 7519, section 4.1 gives a single value; `aud` may be a list. */
const SINGLE = new Set(["iss", "sub", "exp", "nbf", "iat", "jti"]);

/** Why no token can have this claim, and what was probably meant; `undefined` where one can. */
export function impossibleClaim({ parts }: ClaimPath): string | undefined {
  const at = parts.findIndex((part) => /^[a-z][a-z0-9+.-]*:\/\//i.test(part));
  const isSplit = at >= 0 && at < parts.length - 1 && !(parts[at] ?? "").includes(".");
  if (isSplit) {
    const whole = [...parts.slice(0, at), parts.slice(at).join(".")];
    return `a dot ends the name of a claim, so a URL is not one name here. Write %%user${writeClaimParts(whole)}`;
  }
  const [first = "", ...rest] = parts;
  if (SINGLE.has(first) && rest.length > 0)
    return `the claim ${first} is one value (RFC 7519, section 4.1) and has no members. Write %%user.${first}`;
  return undefined;
}

/** A claim under these names. Own properties of plain objects only: `constructor` is a claim like any other. */
export function claimAt(claims: Readonly<Record<string, unknown>>, parts: readonly string[]): unknown {
  let value: unknown = claims;
  for (const part of parts) {
    if (typeof value !== "object" || value === null) return undefined;
    if (Array.isArray(value) && !/^\d+$/.test(part)) return undefined;
    if (!Object.hasOwn(value, part)) return undefined;
    // Own properties of an object or list that came from JSON; any key may be asked for.
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** The words of a claim such as `scope`, which holds several in one string (RFC 8693, section 4.2). */
export const wordsOf = (text: string): string[] => text.split(" ").filter((word) => word !== "");

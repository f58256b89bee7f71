/**
 * The notation for claims in rules: `%%user.a.b`, with `["…"]` around a name that contains dots, such as the URLs that
 * some issuers use as names: `%%user["https://example.com/roles"].0`.
 */

/** The type to which a rule converts a claim. */
export type Conversion = "oid" | "date" | "words";

/** A claim as a rule names it. */
export interface ClaimPath {
  readonly conversion: Conversion | undefined;
  /** Names of nested members. A number may also be a position in a list. */
  readonly parts: readonly string[];
}

const NAME = String.raw`\.(?:(?!\["|\.)[\s\S])+`;
const QUOTED = String.raw`\["(?:[^"\\]|\\.)+"\]`;
const CLAIM = new RegExp(`^%%(?:(oid|date|words):)?user((?:${NAME}|${QUOTED})+)$`);
const PART = new RegExp(`${NAME}|${QUOTED}`, "g");

/** Parses the name of a claim; `undefined` for any other text. */
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

/** The name in `["…"]`, which is a JSON string; `undefined` if it is not valid. */
function unquote(part: string): string | undefined {
  try {
    return JSON.parse(part.slice(1, -1)) as string; // JSON in double quotes is always a string
  } catch {
    // An escape sequence that JSON does not have. The caller refuses the whole text.
    return undefined;
  }
}

/** Writes the name of a claim in the notation of rules, without `%%user`. */
export const writeClaimParts = (parts: readonly string[]): string =>
  parts
    .map((part) =>
      part === "" || part.includes(".") || part.includes('["') ? `[${JSON.stringify(part)}]` : `.${part}`,
    )
    .join("");

/** Claims for which RFC 7519, section 4.1, defines a single value. `aud` may be a list. */
const SINGLE = new Set(["iss", "sub", "exp", "nbf", "iat", "jti"]);

/** Why no token can have this claim, with the probable intention; `undefined` if one can. */
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

/** The claim with these names. Only own properties count, so `constructor` is a claim like any other. */
export function claimAt(claims: Readonly<Record<string, unknown>>, parts: readonly string[]): unknown {
  let value: unknown = claims;
  for (const part of parts) {
    if (typeof value !== "object" || value === null) return undefined;
    if (Array.isArray(value) && !/^\d+$/.test(part)) return undefined;
    if (!Object.hasOwn(value, part)) return undefined;
    // An own property of an object or list that was parsed from JSON. Any key may be requested.
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** The words of a claim such as `scope`, which contains several in one string (RFC 8693, section 4.2). */
export const wordsOf = (text: string): string[] => text.split(" ").filter((word) => word !== "");

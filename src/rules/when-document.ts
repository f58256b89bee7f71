/**
 * The document on which a `when` is evaluated. `user` contains the claims, and `words` the same claims with every
 * string as a list of its words, for `%%words:`. Dots separate the parts of a path, so names of claims contain an
 * escape sequence instead of a dot.
 */
import { BSON } from "mongodb";
import { readClaimPath, wordsOf, writeClaimParts } from "./claim-path.ts";
import type { Claims } from "./claims.ts";

/**
 * The first character of an escape sequence in a name. One sequence replaces a dot, the other this character itself.
 */
const ESCAPE = "\u0001";
const escapeName = (name: string): string =>
  name.replaceAll(ESCAPE, `${ESCAPE}e`).replaceAll(".", `${ESCAPE}d`);
const unescapeName = (name: string): string =>
  name.replaceAll(`${ESCAPE}d`, ".").replaceAll(`${ESCAPE}e`, ESCAPE);

/** Converts a key of a `when` to a path in the document. */
export function whenPath(key: string): string {
  const claim = readClaimPath(key);
  if (claim === undefined) return key;
  return [claim.conversion === "words" ? "words" : "user", ...claim.parts.map(escapeName)].join(".");
}

/** Converts a path in the document to the key of a `when`. */
export function whenKey(path: string): string {
  const [root, ...parts] = path.split(".");
  return `%%${root === "words" ? "words:" : ""}user${writeClaimParts(parts.map(unescapeName))}`;
}

/** Converts the paths in the text of a `when` to the notation of rules. */
export function whenText(text: string): string {
  return text.replace(
    /("(?:user|words)\.(?:[^"\\]|\\.)*"):/g,
    (_, path: string) => `${JSON.stringify(whenKey(JSON.parse(path) as string))}:`, // JSON in double quotes is a string
  );
}

/**
 * The latest claims and their document, because all rules of all subscriptions of one user are evaluated one after
 * another.
 */
let last: { readonly claims: WeakRef<Claims>; readonly document: Uint8Array } | undefined;

/** Converts claims to the document on which a `when` is evaluated. */
export function claimsToBson(claims: Claims): Uint8Array {
  if (last?.claims.deref() === claims) return last.document;
  const asTheyAre = (text: string) => text;
  const document = BSON.serialize({ user: toMap(claims, asTheyAre), words: toMap(claims, wordsOf) });
  last = { claims: new WeakRef(claims), document };
  return document;
}

/** Converts objects to maps, in which no key (`_bsontype`) has a special meaning. */
function toMap(value: unknown, ofText: (text: string) => unknown): unknown {
  if (typeof value === "string") return ofText(value);
  if (Array.isArray(value)) return value.map((item) => toMap(item, ofText));
  if (typeof value !== "object" || value === null) return value;
  return new Map(Object.entries(value).map(([key, item]) => [escapeName(key), toMap(item, ofText)]));
}

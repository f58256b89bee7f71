/** The last barrier before an answer: known secrets are replaced in it, whatever their origin. */
import { isHidden, type Path, readConfigText } from "../../config/config-text.ts";

/** A shorter text would be found by chance in many others. A shorter password is replaced inside of its URL. */
const SECRET_MIN = 6;

/**
 * The texts that show a secret of a configuration.
 * @param text The file. It may be invalid.
 */
export function secretsOf(text: string, env: NodeJS.ProcessEnv): string[] {
  const found = [...hiddenIn(readConfigText(text, "", env).value, [])];
  return traces(found, found);
}

/**
 * The texts that show a secret: the secret itself, as a string of JSON, and the passwords of URLs.
 * @param secrets Are replaced whole. @param urls Of these, only the passwords are replaced.
 */
export function traces(secrets: readonly (string | undefined)[], urls: readonly string[]): string[] {
  const long = secrets.filter((text) => text !== undefined && text.length >= SECRET_MIN) as string[]; // the condition excludes undefined
  return longestFirst([...long, ...urls.flatMap(passwordIn)].flatMap(inJson));
}

/** Without repetitions, the longest first: one may contain another. */
export const longestFirst = (texts: readonly string[]): string[] =>
  [...new Set(texts)].sort((a, b) => b.length - a.length);

function* hiddenIn(value: unknown, path: Path): Generator<string> {
  if (typeof value === "string") {
    if (isHidden(path) && value !== "embedded") yield value;
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value))
      yield* hiddenIn(item, [...path, Array.isArray(value) ? Number(key) : key]);
  }
}

/** The password in a URL, as written, decoded, and as drivers encode it again. */
function passwordIn(url: string): string[] {
  const written = /^[a-z][a-z0-9+.-]*:\/\/[^/?#@]*?:([^/?#]+)@/i.exec(url)?.[1];
  if (written === undefined) return [];
  return encodings(written).map((password) => (password.length >= SECRET_MIN ? password : `:${password}@`));
}

function encodings(written: string): string[] {
  try {
    const decoded = decodeURIComponent(written);
    return [written, decoded, encodeURIComponent(decoded)];
  } catch {
    return [written]; // a percent sign that encodes nothing
  }
}

/** A text as it is, in a string of JSON, and in such a string that is quoted by another one. */
function inJson(text: string): string[] {
  const once = JSON.stringify(text).slice(1, -1);
  return [text, once, JSON.stringify(once).slice(1, -1)];
}

/** A value in which every secret is replaced, in strings and in names. @param secrets The longest first. */
export function masked<T>(value: T, secrets: readonly string[]): T;
export function masked(value: unknown, secrets: readonly string[]): unknown {
  if (typeof value === "string")
    return secrets.reduce((text, secret) => text.replaceAll(secret, "•••"), value);
  if (Array.isArray(value)) return value.map((item) => masked<unknown>(item, secrets));
  if (typeof value !== "object" || value === null) return value;
  // fromEntries defines own properties: a key `__proto__` stays a key.
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [masked(key, secrets), masked<unknown>(item, secrets)]),
  );
}

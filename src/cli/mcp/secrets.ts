/** The last barrier before an answer: known secrets are replaced in it, wherever they are from. */
import { isHidden, type Path, readConfigText } from "../../config/config-text.ts";

/** A shorter text would be found by chance in many others. No secret of a configuration is that short. */
const SECRET_MIN = 6;

/**
 * Every secret of a configuration, filled in, and the passwords in its URLs.
 * @param text The file. It may be invalid.
 */
export function secretsOf(text: string, env: NodeJS.ProcessEnv): string[] {
  const found = [...hiddenIn(readConfigText(text, "", env).value, [])];
  return usable([...found.flatMap(withParts), env["TIDEWIRE_TOKEN"], env["TIDEWIRE_ADMIN_TOKEN"]]);
}

/** Texts that are long enough to be replaced, the longest first: one may contain another. */
export function usable(texts: readonly (string | undefined)[]): string[] {
  const long = texts.filter((text) => text !== undefined && text.length >= SECRET_MIN);
  return [...new Set(long as string[])].sort((a, b) => b.length - a.length); // the condition excludes undefined
}

function* hiddenIn(value: unknown, path: Path): Generator<string> {
  if (typeof value === "string") {
    if (isHidden(path) && value !== "embedded") yield value;
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value))
      yield* hiddenIn(item, [...path, Array.isArray(value) ? Number(key) : key]);
  }
}

/** A secret, and if it is a URL the password in it, as written and decoded. */
export function withParts(text: string): string[] {
  const password = /^[a-z][a-z0-9+.-]*:\/\/[^/?#@]*?:([^/?#]*)@/i.exec(text)?.[1];
  if (password === undefined) return [text];
  try {
    return [text, password, decodeURIComponent(password)];
  } catch {
    return [text, password]; // a percent sign that encodes nothing
  }
}

/** A value in which every secret is replaced, in strings and in names. */
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

/** The meaning of a webhook receiver's answer (docs/sink-targets.md has the same table). */
import type { SafeAnswer } from "../../outbound/safe-request.ts";
import type { SendResult } from "../target.ts";

/**
 * Answers that concern the receiver and not one message: the login, the rate, the load, a proxy without its backend.
 * Every other status may be about one message, and must not stop the others.
 */
const ABOUT_THE_RECEIVER: ReadonlySet<number> = new Set([401, 407, 408, 425, 429, 502, 503, 504]);

/** The longest wait that a receiver may ask for, in milliseconds. */
const RETRY_AFTER_MAX_MS = 24 * 3_600_000;

/** A shorter beginning of a secret is not recognized at the end of an excerpt, in characters. */
const SECRET_PART_MIN = 4;

/** A date as HTTP writes it (IMF-fixdate). `Date.parse` alone accepts much more. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** The wait that a receiver asks for by `Retry-After`, in milliseconds; `undefined` without a valid one. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  const text = value?.trim() ?? "";
  const waitMs = /^\d+$/.test(text)
    ? Number(text) * 1_000
    : HTTP_DATE.test(text)
      ? Date.parse(text) - nowMs
      : Number.NaN;
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), RETRY_AFTER_MAX_MS);
}

/**
 * @param secrets Texts that a receiver may send back, and that no log may contain.
 * @param nowMs Wall time.
 */
export function toSendResult(answer: SafeAnswer, secrets: readonly string[], nowMs: number): SendResult {
  const { status } = answer;
  if (status >= 200 && status <= 299) return { kind: "accepted" };
  const excerpt = withoutSecrets(answer.excerpt, secrets);
  const failure = { reason: `the receiver answered ${status}`, ...(excerpt === "" ? {} : { excerpt }) };
  if (status === 410) return { kind: "gone", ...failure };
  const kind = isAboutTheReceiver(status) ? "unavailable" : "refused";
  const waitMs = retryAfterMs(answer.headers["retry-after"], nowMs);
  return waitMs === undefined ? { kind, ...failure } : { kind, ...failure, retryAfterMs: waitMs };
}

/** Shorter parts of a path may be ordinary words, such as `hooks`, in characters. */
const PATH_PART_MIN = 8;
/** An ordinary word, as opposed to a short key. */
const WORD = /^[a-z]+$/;

/**
 * The texts of a URL that may be secrets. Many receivers have their key in the path or in the query, and quote the URL in the
 * answer to a request that they refuse. The path and the query are secret as a whole, however short they are.
 */
export function secretsInUrl({ href, pathname, search, searchParams }: URL): string[] {
  const whole = [pathname + search, pathname, search].filter((text) => text.length > 1);
  const values = [
    ...search
      .slice(1)
      .split("&")
      .map((pair) => pair.slice(pair.indexOf("=") + 1)),
    ...searchParams.values(),
  ];
  const written = [href, ...whole, ...pathname.slice(1).split("/").flatMap(secretsInPart)];
  // Some frameworks quote a path without its first slash, and some encoders of JSON escape slashes.
  const relative = pathname.slice(1);
  if (relative.length >= SECRET_PART_MIN && !WORD.test(relative)) written.push(relative + search, relative);
  const decoded = written.flatMap((text) => decodedOf(text) ?? []);
  const escaped = whole.map((text) => text.replaceAll("/", "\\/"));
  const long = values.filter((value) => value.length >= SECRET_PART_MIN);
  return [...new Set([...written, ...decoded, ...escaped, ...long])];
}

/** A short part is recognized by the slash before it, and a short word by nothing else. */
function secretsInPart(part: string): string[] {
  if (part.length >= PATH_PART_MIN) return [part];
  if (part.length < SECRET_PART_MIN) return [];
  return WORD.test(part) ? [`/${part}`] : [`/${part}`, part];
}

/** A text whose percent signs encode characters, decoded. */
function decodedOf(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined; // a percent sign that encodes nothing
  }
}

/** A receiver may quote a header without its scheme (`Bearer`), and the end of an excerpt may cut a secret off. */
function withoutSecrets(excerpt: string, secrets: readonly string[]): string {
  // The longest first: one may contain another.
  const parts = secrets
    .flatMap((value) => [value, ...value.split(" ").slice(1)])
    .filter((part) => part !== "")
    .sort((a, b) => b.length - a.length);
  let text = parts.reduce((shown, part) => shown.replaceAll(part, "…"), excerpt);
  for (const part of parts)
    for (let length = part.length - 1; length >= SECRET_PART_MIN; length--)
      if (text.endsWith(part.slice(0, length))) text = `${text.slice(0, -length)}…`;
  return text;
}

/** A redirect is, too: the URL is wrong for every message. From 520 on, proxies report a backend that does not answer. */
const isAboutTheReceiver = (status: number) =>
  status < 400 || status >= 520 || ABOUT_THE_RECEIVER.has(status);

/**
 * Reads a subscription from a URL. Streams and polls are plain GET requests, so that `EventSource`, `curl` and proxies
 * can use them; the result is the same message as over a WebSocket, and passes the same checks.
 */
import {
  type ClientMessage,
  type EnterMessage,
  type SubscribeMessage,
  VALUE_MODES,
  type ValueMode,
} from "../../protocol/messages.ts";
import { checkShape, type MessageLimits } from "../connection/incoming.ts";
import { badRequest, checkMessage, type Problem } from "../connection/parse-message.ts";
import type { RequestHead } from "./request-head.ts";

/** The request in the URL of a stream or a poll (docs/protocol.md, section 7). */
export interface UrlRequest {
  /** The message that asks for the same over a WebSocket. */
  readonly subscribe: SubscribeMessage;
  readonly values: ValueMode;
  /** Single-use key of a stream, instead of a token. */
  readonly key: string | null;
  /** Size of the URL in bytes, as the rate limit counts it. */
  readonly bytes: number;
  /** How long a poll waits for a change, in milliseconds. */
  readonly waitMs: number;
}

/** The id of the subscription in `subscribed`, because a request by URL has no id chosen by the client. */
export const SUBSCRIPTION_ID = "1";

const SUBSCRIPTION = [
  "collection",
  "filter",
  "fields",
  "sort",
  "limit",
  "snapshot",
  "aggregate",
  "values",
  "cursor",
  "ticket",
];
const PARAMETERS = { sse: [...SUBSCRIPTION, "key"], poll: [...SUBSCRIPTION, "wait"] } as const;

const WAIT_DEFAULT_S = 25;
const WAIT_MAX_S = 60;

/**
 * Reads the URL of a stream or a poll. An empty value counts as omitted.
 * @throws {TidewireError} `bad-request`; no text or detail repeats a value.
 */
export function parseUrlRequest(url: string, kind: "sse" | "poll", limits: MessageLimits): UrlRequest {
  const parameters = readParameters(url, PARAMETERS[kind]);
  const problems: Problem[] = [];
  const read = <T>(path: string, parse: (text: string) => T | undefined, expected: string): T | undefined => {
    const text = parameters.get(path);
    const value = text === undefined ? undefined : parse(text);
    if (text !== undefined && value === undefined) problems.push({ path, reason: `expected ${expected}` });
    return value;
  };
  const subscribe = {
    type: "subscribe",
    id: SUBSCRIPTION_ID,
    collection: read("collection", (text) => text, "a name"),
    filter: read("filter", parseJson, "a filter as JSON, percent-encoded"),
    fields: read("fields", (text) => text.split(","), "paths, separated by commas"),
    sort: read("sort", parseJson, 'a sort as JSON, such as [["at",-1]], percent-encoded'),
    limit: read("limit", parseInteger, "a whole number"),
    snapshot: read("snapshot", parseBoolean, "true or false"),
    aggregate: read("aggregate", parseJson, 'an aggregate as JSON, such as {"by":"status"}, percent-encoded'),
    cursor: parameters.get("cursor"),
    ticket: parameters.get("ticket"),
  };
  const values = read(
    "values",
    (text) => VALUE_MODES.find((mode) => mode === text),
    VALUE_MODES.join(" or "),
  );
  const waitS = read("wait", parseSeconds, `seconds, from 0 to ${WAIT_MAX_S}`);
  if (problems.length > 0) throw badRequest(problems);
  return {
    subscribe: checkSubscribe(subscribe, limits),
    values: values ?? "json",
    key: parameters.get("key") ?? null,
    bytes: Buffer.byteLength(url),
    waitMs: (waitS ?? WAIT_DEFAULT_S) * 1_000,
  };
}

/**
 * Reads the URL of `/v1/enter`.
 * @throws {TidewireError} `bad-request`
 */
export function parseEnterUrl(url: string, limits: MessageLimits): Omit<EnterMessage, "type" | "id"> {
  return checkEnter(readParameters(url, ["room", "tab", "data"]), limits);
}

/**
 * Reads the URL of `/v1/leave`.
 * @throws {TidewireError} `bad-request`
 */
export function parseLeaveUrl(url: string, limits: MessageLimits): Pick<EnterMessage, "room" | "tab"> {
  return checkEnter(readParameters(url, ["room", "tab"]), limits);
}

/** Applies the same checks as for a message over a WebSocket. */
function checkEnter(parameters: ReadonlyMap<string, string>, limits: MessageLimits): EnterMessage {
  const text = parameters.get("data");
  const data = text === undefined ? undefined : parseJson(text);
  if (text !== undefined && data === undefined)
    throw badRequest([{ path: "data", reason: "expected JSON, percent-encoded" }]);
  const { room, tab } = Object.fromEntries(parameters);
  const given = { type: "enter", id: SUBSCRIPTION_ID, room, tab, data };
  // The schema keeps the type, so the result is an `enter`.
  return checkPresent(given, limits) as EnterMessage;
}

/** The token of `Authorization: Bearer`; empty if nothing follows the word. Other schemes are for proxies. */
export function bearerOf({ headers: { authorization = "" } }: RequestHead): string | undefined {
  if (!/^Bearer(?: |$)/i.test(authorization)) return undefined;
  return /^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? "";
}

/** Applies the same checks as for a message over a WebSocket. */
function checkSubscribe(given: Record<string, unknown>, limits: MessageLimits): SubscribeMessage {
  // The schema keeps the type, so the result is a `subscribe`.
  return checkPresent(given, limits) as SubscribeMessage;
}

/** Applies the same checks as for a message over a WebSocket. Absent fields are `undefined`. */
export function checkPresent(given: Record<string, unknown>, limits: MessageLimits): ClientMessage {
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  const message = checkShape(Object.fromEntries(present), limits);
  if ("unread" in message) throw message.error;
  return checkMessage(message.fields);
}

const TOKEN_NAME = /^(?:(?:access|id|auth|bearer)?[-_]?token|jwt|bearer|auth|authorization)$/i;
/** The compact form of a signed token (RFC 7515, 7.1). Its first part is a JSON object in base64url. */
const TOKEN_VALUE = /^(?:Bearer\s+)?eyJ[\w-]*\.[\w-]+\.[\w-]*$/i;

/**
 * Reads the parameters. Each may appear once, and unknown ones are refused, because a misspelt option must not be
 * ignored.
 */
function readParameters(url: string, known: readonly string[]): ReadonlyMap<string, string> {
  const at = url.indexOf("?");
  const parameters = new Map<string, string>();
  const problems: Problem[] = [];
  for (const [name, value] of new URLSearchParams(at < 0 ? "" : url.slice(at + 1))) {
    if (TOKEN_NAME.test(name) || TOKEN_VALUE.test(name) || TOKEN_VALUE.test(value)) {
      const reason =
        "a token in a URL ends up in logs: send it in Authorization, or get a key from POST /v1/key";
      problems.push({ path: known.includes(name) ? name : "token", reason });
    } else if (!known.includes(name)) {
      problems.push({ path: name, reason: `unknown; known are ${known.join(", ")}` });
    } else if (parameters.has(name)) problems.push({ path: name, reason: "given more than once" });
    else if (value !== "") parameters.set(name, value);
  }
  if (problems.length > 0) throw badRequest(problems);
  return parameters;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // reported as the problem of this parameter
  }
}

const parseInteger = (text: string) => (/^\d{1,9}$/.test(text) ? Number(text) : undefined);

function parseBoolean(text: string): boolean | undefined {
  if (text === "true") return true;
  return text === "false" ? false : undefined;
}

function parseSeconds(text: string): number | undefined {
  const seconds = /^\d{1,3}(?:\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  return seconds <= WAIT_MAX_S ? seconds : undefined;
}

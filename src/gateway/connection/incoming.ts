/**
 * Parses messages. A hostile message can be small and still expensive (deep nesting, a million empty arrays), so it is
 * measured before `JSON.parse` builds it, and parsed only once.
 */
import { TidewireError } from "../../protocol/errors.ts";
import type { GatewayLimits } from "../limits.ts";
import { badRequest, usableId } from "./parse-message.ts";

/** The limits that apply before the fields of a message are read. */
export type MessageLimits = Pick<GatewayLimits, "messageDepth" | "messageNodes">;

/** Why a message was refused without being read; the label of a metric. */
export type UnreadReason = "malformed" | "depth" | "nodes";

/** One message of a client, or why it could not be read. `bytes` is its size as received. */
export type Incoming =
  | { readonly fields: Readonly<Record<string, unknown>>; readonly bytes: number }
  | { readonly unread: UnreadReason; readonly error: Error; readonly bytes: number };

/** A frame that is no message at all. The connection is closed with 4400. */
export class MalformedMessageError extends Error {
  override readonly name = "MalformedMessageError";
}

/** Reads the text of one message. Never throws: a message that cannot be read is answered in its turn. */
export function readMessage(text: string, bytes: number, limits: MessageLimits): Incoming {
  const scan = scanJson(text);
  const over = overLimits(scan, limits);
  // Only text that could be an object is refused for its size. Unbalanced brackets are no JSON at all.
  if (over !== null && scan.endsWhole && text.trimStart().startsWith("{")) {
    return { unread: over, error: tooComplex(over, limits, idOf(text, scan)), bytes };
  }
  const malformed = (cause?: unknown): Incoming => {
    const error = new MalformedMessageError("a message is one JSON object", { cause });
    return { unread: "malformed", error, bytes };
  };
  if (over !== null) return malformed();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return malformed(cause);
  }
  return isFields(value) ? { fields: value, bytes } : malformed();
}

/** Checks a message that a library or a URL has delivered as an object. */
export function checkShape(fields: Readonly<Record<string, unknown>>, limits: MessageLimits): Incoming {
  const { depth, nodes, bytes } = measure(fields, limits);
  const over = overLimits({ depth, nodes }, limits);
  if (over === null) return { fields, bytes };
  return { unread: over, error: tooComplex(over, limits, usableId(fields["id"])), bytes };
}

const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

interface Shape {
  /** The message itself is at depth 1. */
  readonly depth: number;
  /** The number of values: each scalar, array and object, including the message itself. */
  readonly nodes: number;
}

function overLimits({ depth, nodes }: Shape, limits: MessageLimits): "depth" | "nodes" | null {
  if (depth > limits.messageDepth) return "depth";
  return nodes > limits.messageNodes ? "nodes" : null;
}

function tooComplex(over: "depth" | "nodes", limits: MessageLimits, id?: string): TidewireError {
  const limit = over === "depth" ? "messageDepth" : "messageNodes";
  const value = limits[limit];
  const reason =
    over === "depth"
      ? `the message nests deeper than ${value} levels (limits.messageDepth)`
      : `the message holds more than ${value} values (limits.messageNodes)`;
  const { code, message, details } = badRequest([{ path: "", reason }], id);
  return new TidewireError(code, message, { ...details, limit, value });
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const SPACE = 0x20;

interface TextShape extends Shape {
  /** Whether every bracket was closed. */
  readonly endsWhole: boolean;
  /**
   * The offsets of the message's own `id`, quotes included. If there are several, the last one counts, as for
   * `JSON.parse`.
   */
  readonly idStart: number;
  readonly idEnd: number;
}

/**
 * Measures a text in one pass, without a stack. `JSON.parse` would first build everything, and a message of nested
 * arrays needs about fifty times its size.
 */
function scanJson(text: string): TextShape {
  let depth = 0;
  let deepest = 0;
  let nodes = 1;
  /** Whether a bracket was opened and nothing has followed it yet. */
  let isFresh = false;
  let stringStart = 0;
  let stringEnd = 0;
  let isId = false;
  let idStart = 0;
  let idEnd = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char <= SPACE) continue;
    if (char === CLOSE_ARRAY || char === CLOSE_OBJECT) {
      depth--;
      isFresh = false;
      continue;
    }
    if (isFresh) {
      nodes++;
      isFresh = false;
    }
    if (char === QUOTE) {
      const start = at;
      at = endOfString(text, at);
      if (depth !== 1) continue;
      if (isId) [idStart, idEnd] = [start, at + 1];
      [stringStart, stringEnd] = [start, at + 1];
    } else if (char === COMMA) nodes++;
    else if (char === OPEN_ARRAY || char === OPEN_OBJECT) {
      isFresh = true;
      if (++depth > deepest) deepest = depth;
    }
    isId = char === COLON && depth === 1 && text.slice(stringStart, stringEnd) === '"id"';
  }
  return { depth: deepest, nodes, endsWhole: depth === 0, idStart, idEnd };
}

/** The end of the string that begins at `start`: its closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) break;
    if (char === BACKSLASH) at++;
  }
  return at;
}

function idOf(text: string, { idStart, idEnd }: TextShape): string | undefined {
  try {
    return usableId(JSON.parse(text.slice(idStart, idEnd)));
  } catch {
    return undefined; // there is none, or it is no JSON string; the answer has no id then
  }
}

/** Measures level by level, so that no nesting exhausts the stack. It stops when a limit is exceeded. */
function measure(root: object, { messageDepth, messageNodes }: MessageLimits): Shape & { bytes: number } {
  let level: object[] = [root];
  let depth = 0;
  let nodes = 1;
  let bytes = 2;
  while (level.length > 0) {
    depth++;
    if (depth > messageDepth || nodes > messageNodes) break;
    const next: object[] = [];
    for (const container of level) {
      for (const [key, value] of entriesOf(container)) {
        nodes++;
        bytes += Buffer.byteLength(key) + sizeOf(value);
        if (typeof value === "object" && value !== null) next.push(value);
      }
      if (nodes > messageNodes) break;
    }
    level = next;
  }
  return { depth, nodes, bytes };
}

const entriesOf = (container: object): readonly (readonly [string, unknown])[] =>
  Array.isArray(container)
    ? container.map((value: unknown) => ["", value] as const)
    : Object.entries(container);

/** About the size as JSON, with its comma. The content of an array or object is counted separately. */
function sizeOf(value: unknown): number {
  return (typeof value === "string" ? Buffer.byteLength(value) : 1) + 3;
}

/**
 * Errors as the log shows them. The driver hangs the documents of a failed write on its error, and the log is no place for
 * documents.
 */
import { pino, type SerializedError } from "pino";

/** Properties of the driver's errors that hold documents, or parts of them. */
const DOCUMENTS = new Set([
  "writeErrors",
  "writeConcernErrors",
  "errorResponse",
  "errInfo",
  "result",
  "keyValue",
  "op",
]);
/** How deeply errors inside of errors are shown. */
const DEPTH_MAX = 4;

/** The serializer of `err` for every log. */
export function loggedError(error: unknown): unknown {
  return error instanceof Error ? withoutDocuments(pino.stdSerializers.err(error), 1) : error;
}

function withoutDocuments(shown: SerializedError, depth: number): Record<string, unknown> {
  const entries = Object.entries(shown).filter(([name]) => !DOCUMENTS.has(name));
  return Object.fromEntries(entries.map(([name, value]) => [name, shownPart(value, depth)]));
}

/** A property of an error. Some errors have a list of others. */
function shownPart(value: unknown, depth: number): unknown {
  if (Array.isArray(value)) return value.map((item) => shownPart(item, depth));
  if (value instanceof Error) return inner(pino.stdSerializers.err(value), depth);
  return isShownError(value) ? inner(value, depth) : value;
}

const inner = (shown: SerializedError, depth: number): unknown =>
  depth < DEPTH_MAX ? withoutDocuments(shown, depth + 1) : { type: shown.type, message: shown.message };

const isShownError = (value: unknown): value is SerializedError =>
  typeof value === "object" && value !== null && "stack" in value && "type" in value;

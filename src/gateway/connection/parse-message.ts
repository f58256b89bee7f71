/**
 * The schema of client messages. Unknown fields are refused: a misspelt `filter` that was ignored would send a client
 * more than it asked for.
 */
import { z } from "zod";
import { TidewireError } from "../../protocol/errors.ts";
import {
  type AggregateRequest,
  type ClientMessage,
  DOCUMENT_MODES,
  VALUE_MODES,
} from "../../protocol/messages.ts";
import { parseUntrusted } from "../../protocol/parse-untrusted.ts";

const id = z.string().min(1).max(64);
const uint32 = z.int().min(0).max(0xffff_ffff);

/** Passed on unchanged, because the filter has its own parser, which must see every key, including `__proto__`. */
const filter = z.custom<Record<string, unknown>>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  { error: "expected an object" },
);

const LONE_SURROGATE = /\p{Surrogate}/u;

/** Text that MongoDB stores as it is. */
const storable = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => !LONE_SURROGATE.test(text), { error: "expected well-formed Unicode" });

/**
 * Levels of `data`, which is itself the second level of a document. MongoDB promises to store 100, and refuses all writes that it
 * receives together if one of them has too many.
 */
const DATA_LEVELS = 99;

/** Data of a client that is stored. Names that begin with $ mean something to MongoDB. */
const data = z
  .custom<Readonly<Record<string, unknown>>>(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value) && hasPlainNames(value),
    { error: "expected an object without names that begin with $" },
  )
  .refine((value) => nestsAtMost(value, DATA_LEVELS), {
    error: `nests deeper than ${DATA_LEVELS} levels, the most that MongoDB stores`,
  });

/** The depth is limited where the message is read. */
function hasPlainNames(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return value.every(hasPlainNames);
  return Object.entries(value).every(
    ([name, item]) => !name.startsWith("$") && !name.includes("\0") && hasPlainNames(item),
  );
}

function nestsAtMost(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((item) => nestsAtMost(item, levels - 1));
}

/** Passed on unchanged, because the aggregate has its own parser as well. */
const aggregate = z.custom<AggregateRequest>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  { error: "expected an object" },
);

const MESSAGES = {
  hello: z.strictObject({
    type: z.literal("hello"),
    token: z.string().min(1).optional(),
    values: z.enum(VALUE_MODES).optional(),
    client: z.string().max(200).optional(),
  }),
  subscribe: z
    .strictObject({
      type: z.literal("subscribe"),
      id,
      collection: z.string().min(1).max(255),
      filter: filter.optional(),
      fields: z.array(z.string().min(1).max(500)).max(200).optional(),
      sort: z
        .array(z.tuple([z.string().min(1).max(500), z.union([z.literal(1), z.literal(-1)])]))
        .min(1)
        .max(32)
        .optional(),
      limit: z.int().min(1).optional(),
      snapshot: z.boolean().optional(),
      cursor: z.string().min(1).max(200).optional(),
      ticket: z.string().min(1).max(2_000).optional(),
      documents: z.enum(DOCUMENT_MODES).optional(),
      aggregate: aggregate.optional(),
    })
    .refine((message) => message.ticket === undefined || message.cursor !== undefined, {
      path: ["ticket"],
      error: "a ticket goes with a cursor",
    })
    .refine((message) => message.limit === undefined || message.sort !== undefined, {
      path: ["limit"],
      error: "limit goes with sort",
    })
    .refine((message) => message.limit === undefined || message.snapshot !== false, {
      path: ["limit"],
      error: "a limited window begins with its snapshot",
    }),
  unsubscribe: z.strictObject({ type: z.literal("unsubscribe"), id }),
  refresh: z.strictObject({ type: z.literal("refresh"), token: z.string().min(1) }),
  fence: z.strictObject({
    type: z.literal("fence"),
    id,
    operationTime: z.strictObject({ $timestamp: z.strictObject({ t: uint32, i: uint32 }) }),
  }),
  enter: z.strictObject({
    type: z.literal("enter"),
    id,
    room: storable(200),
    tab: storable(64),
    data: data.optional(),
  }),
  leave: z.strictObject({ type: z.literal("leave"), id }),
  ping: z.strictObject({
    type: z.literal("ping"),
    nonce: z.union([z.string().max(200), z.number()]).optional(),
  }),
} as const;

/**
 * Checks the fields of one message, whatever transport delivered it.
 * @throws {TidewireError} `bad-request`; `details.problems` lists paths and reasons, and `details.id` is the message's
 *   own id if it has a usable one.
 */
export function checkMessage(message: Readonly<Record<string, unknown>>): ClientMessage {
  const ownId = usableId(Object.hasOwn(message, "id") ? message["id"] : undefined);
  const type = Object.hasOwn(message, "type") ? message["type"] : undefined;
  if (typeof type !== "string" || !Object.hasOwn(MESSAGES, type)) {
    const known = Object.keys(MESSAGES).join(", ");
    throw badRequest([{ path: "type", reason: `expected one of ${known}` }], ownId);
  }
  const schema = MESSAGES[type as keyof typeof MESSAGES]; // the line above has checked that it is an own key
  const parsed = parseUntrusted(schema, message);
  if (!parsed.success) {
    const { issues } = parsed.error;
    throw badRequest(
      issues.map((issue) => ({ path: issue.path.join("."), reason: issue.message })),
      ownId,
    );
  }
  // zod's type has `T | undefined` for an absent field, and its value has no such field.
  return parsed.data as ClientMessage;
}

/** The `id` of a message in a form that an answer may repeat; `undefined` if it has none. */
export function usableId(given: unknown): string | undefined {
  const own = parseUntrusted(id, given);
  return own.success ? own.data : undefined;
}

const PROBLEMS_MAX = 20;

/** The fault of one part of a request. */
export interface Problem {
  readonly path: string;
  readonly reason: string;
}

/**
 * Makes the error for a request with faults.
 * @param ownId The message's own id, for the answer.
 */
export function badRequest(problems: readonly Problem[], ownId?: string): TidewireError {
  const first = problems[0];
  const where = first === undefined || first.path === "" ? "" : `${first.path}: `;
  return new TidewireError("bad-request", clip(`${where}${first?.reason ?? "not understood"}`), {
    problems: problems
      .slice(0, PROBLEMS_MAX)
      .map(({ path, reason }) => ({ path: clip(path), reason: clip(reason) })),
    ...(ownId === undefined ? {} : { id: ownId }),
  });
}

/** Clips text that the client itself sent. An error must not repeat it at any length. */
const clip = (text: string) => (text.length > 200 ? `${text.slice(0, 197)}…` : text);

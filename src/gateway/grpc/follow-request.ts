/** Reads a subscription from tidewire.v1.FollowRequest. The result passes the same checks as over a WebSocket. */
import type { SubscribeMessage, ValueMode } from "../../protocol/messages.ts";
import { type MessageLimits, readMessage } from "../connection/incoming.ts";
import { badRequest, type Problem } from "../connection/parse-message.ts";
import { checkPresent, SUBSCRIPTION_ID } from "../http/http-request.ts";
import { Documents, type FollowRequest, Values } from "./tidewire/v1/live_queries_pb.ts";

/**
 * The message that asks for the same over a WebSocket. An empty text counts as absent.
 * @throws {TidewireError} `bad-request`; no text or detail repeats a value.
 */
export function toSubscribe(request: FollowRequest, limits: MessageLimits): SubscribeMessage {
  const { collection, sort, limit, fields, snapshot, cursor, ticket } = request;
  const problems: Problem[] = [];
  const read = (path: "filter" | "aggregate", example: string) => {
    const text = request[path];
    if (text === "") return undefined;
    const incoming = readMessage(text, text.length, limits);
    if ("fields" in incoming) return incoming.fields;
    if (incoming.unread !== "malformed") throw incoming.error;
    problems.push({ path, reason: `expected a JSON object, such as ${example}` });
    return undefined;
  };
  const filter = read("filter", '{"status":"open"}');
  const aggregate = read("aggregate", '{"by":"status"}');
  const documents = modeOf(request.documents, DOCUMENTS);
  if (documents === undefined) problems.push({ path: "documents", reason: "unknown value" });
  if (problems.length > 0) throw badRequest(problems);
  // The schema keeps the type, so the result is a `subscribe`.
  return checkPresent(
    {
      type: "subscribe",
      id: SUBSCRIPTION_ID,
      collection,
      filter,
      aggregate,
      fields: fields.length === 0 ? undefined : fields,
      sort: sort.length === 0 ? undefined : sort.map(({ path, descending }) => [path, descending ? -1 : 1]),
      limit,
      snapshot,
      documents,
      cursor: cursor === "" ? undefined : cursor,
      ticket: ticket === "" ? undefined : ticket,
    },
    limits,
  ) as SubscribeMessage;
}

/**
 * How the client wants values to be written.
 * @throws {TidewireError} `bad-request` for an unknown form.
 */
export function toValueMode({ values }: FollowRequest): ValueMode {
  const mode = modeOf(values, VALUES);
  if (mode === undefined) throw badRequest([{ path: "values", reason: "unknown value" }]);
  return mode;
}

const DOCUMENTS = new Map<number, "full" | "delta">([
  [Documents.UNSPECIFIED, "full"],
  [Documents.FULL, "full"],
  [Documents.DELTA, "delta"],
]);

const VALUES = new Map<number, ValueMode>([
  [Values.UNSPECIFIED, "json"],
  [Values.JSON, "json"],
  [Values.EJSON, "ejson"],
]);

const modeOf = <T>(value: number, modes: ReadonlyMap<number, T>): T | undefined => modes.get(value);

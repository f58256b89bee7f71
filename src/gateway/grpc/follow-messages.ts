/** Messages of the protocol in the form of tidewire.v1.FollowResponse. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { EncodedMessage } from "../../feed/chunk.ts";
import type {
  Cause as ProtocolCause,
  Start as ProtocolStart,
  ServerMessage,
  StartReason,
  WelcomeMessage,
} from "../../protocol/messages.ts";
import { elementsOf, membersOf } from "./json-slices.ts";
import {
  Cause,
  type FollowResponse,
  FollowResponseSchema,
  Reason,
  Start,
} from "./tidewire/v1/live_queries_pb.ts";

/** One message of the stream, before it is complete. */
type Init = NonNullable<MessageInitShape<typeof FollowResponseSchema>["message"]>;

const CAUSES: Readonly<Record<ProtocolCause, Cause>> = {
  insert: Cause.INSERT,
  update: Cause.UPDATE,
  replace: Cause.REPLACE,
  delete: Cause.DELETE,
  grant: Cause.GRANT,
  window: Cause.WINDOW,
};

const STARTS: Readonly<Record<ProtocolStart, Start>> = {
  snapshot: Start.SNAPSHOT,
  resumed: Start.RESUMED,
  live: Start.LIVE,
  // Only the second subscription of a connection is shared, and a stream has one.
  shared: Start.UNSPECIFIED,
  reset: Start.RESET,
  moved: Start.MOVED,
};

const REASONS: Readonly<Record<StartReason | "lagged", Reason>> = {
  "history-lost": Reason.HISTORY_LOST,
  "rights-changed": Reason.RIGHTS_CHANGED,
  "cursor-invalid": Reason.CURSOR_INVALID,
  lagged: Reason.LAGGED,
};

const toResponse = (message: Init): FollowResponse => create(FollowResponseSchema, { message });

/** A message that the service has encoded for many clients. The texts of documents and values are parts of its text. */
export function fromEncoded({ type, text, partial }: EncodedMessage): FollowResponse {
  const members = membersOf(text);
  const cursor = textIn(members, "cursor");
  const cause = CAUSES[textIn(members, "cause") as ProtocolCause]; // the feed writes no other
  switch (type) {
    case "snapshot":
      return toResponse({
        case: "snapshot",
        value: {
          documents: elementsOf(members.get("docs") ?? "[]"),
          last: partial !== true,
          // A client cannot resume from half a snapshot.
          cursor: partial === true ? "" : cursor,
        },
      });
    case "added":
      return toResponse({
        case: "added",
        value: { cause, cursor, document: members.get("doc") ?? "", ...optional(members, ["before"]) },
      });
    case "changed":
      return toResponse({ case: "changed", value: { cause, cursor, ...changedIn(members) } });
    case "removed":
      return toResponse({ case: "removed", value: { cause, cursor, id: members.get("_id") ?? "" } });
    default:
      throw new Error(`no message of a stream has the type ${type}`);
  }
}

const responses = new WeakMap<EncodedMessage, FollowResponse>();

/** Like `fromEncoded`. The text of a message is taken apart once for all streams that send it. */
export function sharedResponseOf(message: EncodedMessage): FollowResponse {
  const known = responses.get(message);
  if (known !== undefined) return known;
  const response = fromEncoded(message);
  responses.set(message, response);
  return response;
}

function changedIn(members: ReadonlyMap<string, string>) {
  const unset = elementsOf(members.get("unset") ?? "[]").map((path): string => JSON.parse(path));
  const document = members.get("doc");
  const id = members.get("_id");
  return {
    unset,
    ...(document === undefined ? {} : { document }),
    ...(id === undefined ? {} : { id }),
    ...optional(members, ["set", "before"]),
  };
}

function optional<N extends string>(
  members: ReadonlyMap<string, string>,
  names: readonly N[],
): Partial<Record<N, string>> {
  const found: Partial<Record<N, string>> = {};
  for (const name of names) {
    const text = members.get(name);
    if (text !== undefined) found[name] = text;
  }
  return found;
}

/** A member that is a string. The service's own words and cursors need no escapes. */
const textIn = (members: ReadonlyMap<string, string>, name: string): string =>
  members.get(name)?.slice(1, -1) ?? "";

/**
 * A message for this client alone; `null` if a stream has no such message.
 * @param wantsSnapshot Whether the result follows a `subscribed` that begins. Nothing can be resumed before its end.
 */
export function fromMessage(message: ServerMessage, wantsSnapshot: boolean): FollowResponse | null {
  const init = toInit(message, wantsSnapshot);
  return init === null ? null : toResponse(init);
}

function toInit(message: ServerMessage, wantsSnapshot: boolean): Init | null {
  switch (message.type) {
    case "welcome":
      return { case: "welcome", value: toWelcome(message) };
    case "subscribed": {
      const { start, reason, ticket, cursor } = message;
      const hasState = start === "resumed" || start === "live" || !wantsSnapshot;
      return {
        case: "subscribed",
        value: {
          start: STARTS[start],
          reason: reason === undefined ? Reason.UNSPECIFIED : REASONS[reason],
          ticket,
          cursor: hasState ? cursor : "",
        },
      };
    }
    case "watermark":
      return { case: "watermark", value: { cursor: message.cursor } };
    case "reset":
      return { case: "reset", value: { reason: REASONS[message.reason], ticket: message.ticket } };
    case "tickets": {
      // A stream has one subscription. An empty ticket would replace the one that the client holds.
      const [ticket] = Object.values(message.tickets);
      return ticket === undefined ? null : { case: "ticket", value: { ticket } };
    }
    case "expiring":
      return { case: "expiring", value: { inMs: wholeMs(message.inMs) } };
    case "draining":
      return { case: "draining", value: { withinMs: message.withinMs } };
    case "unsubscribed":
      return { case: "unsubscribed", value: { reason: message.reason } };
    default:
      return null;
  }
}

/** The `exp` of a token may have a fraction (RFC 7519, 2), and an int64 may not. */
const wholeMs = (ms: number): bigint => BigInt(Math.round(ms));

function toWelcome({ connection, node, heartbeat, user, expires, reconnect, limits }: WelcomeMessage) {
  return {
    connection,
    node,
    heartbeatMs: heartbeat,
    ...(user === null ? {} : { user }),
    ...(expires === null ? {} : { expiresAtMs: wholeMs(expires) }),
    reconnect: { ...reconnect },
    limits: { ...limits },
  };
}

/** The answer to a fence, in the stream that it concerns. */
export const toFenced = (id: string, cursor: string): FollowResponse =>
  toResponse({ case: "fenced", value: { id, cursor } });

/**
 * Authorizes the request of a registration, exactly as a `subscribe` is authorized: it subscribes, and leaves once it has
 * the cursor and the ticket from which the registration starts.
 */
import type { Identity } from "../auth/verify-token.ts";
import type { HostedConnections } from "../gateway/hosted-connections.ts";
import { refusalIn } from "../gateway/transports/http-exchange.ts";
import { CLOSE_CODES } from "../protocol/close-codes.ts";
import type { ErrorMessage, ServerMessage, SubscribedMessage } from "../protocol/messages.ts";
import { PushTransport } from "./push-transport.ts";

/** How long a set of a lookup may take to be read, in milliseconds. */
const TIMEOUT_MS = 15_000;

const LATE: ErrorMessage = {
  type: "error",
  code: "unavailable",
  message: "the rights of the request could not be read in time: try again later",
  retry: "later",
};

/** The start of a registration, or the refusal as a client of a connection receives it. */
export type Authorized = Pick<SubscribedMessage, "cursor" | "ticket"> | { readonly refused: ErrorMessage };

/** Subscribes once, and leaves. Nothing of the collection is read except what the rules need. */
export function authorizeOnce(
  hosted: HostedConnections,
  identity: Identity,
  request: { readonly collection: string; readonly filter: Readonly<Record<string, unknown>> },
  bytes: number,
): Promise<Authorized> {
  return new Promise((resolve, reject) => {
    let refused = LATE;
    const told = (message: ServerMessage) => {
      if (message.type === "subscribed") answer({ cursor: message.cursor, ticket: message.ticket });
      refused = refusalIn(message) ?? refused;
      if (refused !== LATE) answer({ refused });
    };
    const ended = () => answer({ refused });
    const { connection, inbox } = hosted.open(
      new PushTransport({ changed: () => {}, told, ended }),
      Date.now(),
    );
    const timer = setTimeout(connection.guarded("push.late", ended), TIMEOUT_MS);
    const answer = (authorized: Authorized) => {
      clearTimeout(timer);
      resolve(authorized);
      // The message may have been sent in the middle of a step of this connection.
      setImmediate(connection.guarded("push.close", () => connection.terminate(CLOSE_CODES.serviceRestart)));
    };
    const subscribe = async () => {
      await inbox.authenticateByRequest(async () => identity, "json");
      const fields = { type: "subscribe", id: "1", ...request, snapshot: false };
      if (connection.isOpen) inbox.receive({ fields, bytes }, Date.now());
    };
    subscribe().catch(reject);
  });
}

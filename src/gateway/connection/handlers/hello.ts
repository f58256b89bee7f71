/**
 * The first message of a connection, and the check of its token. The same functions serve transports whose requests
 * carry the token in a header.
 */
import type { Identity } from "../../../auth/verify-token.ts";
import { CLOSE_CODES } from "../../../protocol/close-codes.ts";
import { TidewireError } from "../../../protocol/errors.ts";
import type { HelloMessage, ServerMessage } from "../../../protocol/messages.ts";
import type { GatewayContext } from "../../context.ts";
import { limitsForClients } from "../../limits.ts";
import { ClientError } from "../client-error.ts";
import type { Login } from "../login.ts";
import { closingRefusal, reasonOf } from "../token-refusal.ts";

/** The parts of a connection that the check of the first token needs. */
export interface HelloHost {
  readonly id: string;
  readonly context: GatewayContext;
  readonly address: string;
  readonly isOpen: boolean;
  readonly isClosed: boolean;
  readonly login: Pick<Login, "begin" | "expiresAtMs" | "named" | "wantValues">;
  /** @throws {TidewireError} A limit of the node is reached, or the token is no longer trusted. */
  welcome(identity: Identity | null): void;
  send(message: ServerMessage): void;
}

/**
 * [3.1] Handles the first message: the user's token, and the form of values in documents.
 * @param isByHeader The request that opened the connection has authenticated it, and no `hello` has arrived since.
 */
export async function handleHello(
  connection: HelloHost,
  message: HelloMessage,
  isByHeader: boolean,
): Promise<void> {
  const { login } = connection;
  if (connection.isOpen && isByHeader && message.token === undefined) {
    // The header of the request has authenticated the client already, so this `hello` is not answered.
    login.wantValues(message.values);
    return;
  }
  await authenticate(connection, () => {
    login.wantValues(message.values);
    login.named(message.client);
    return identify(connection.context, message.token, connection.address);
  });
}

/**
 * Determines the identity of the client, and welcomes it.
 * @throws {ClientError} The client is refused.
 */
export async function authenticate(
  connection: HelloHost,
  who: () => Promise<Identity | null>,
): Promise<void> {
  connection.login.begin();
  const identity = await who();
  if (connection.isClosed) return;
  connection.welcome(identity);
  const { context } = connection;
  connection.send({
    type: "welcome",
    connection: connection.id,
    node: context.node,
    heartbeat: context.server.heartbeatMs,
    user: identity?.sub ?? null,
    expires: connection.login.expiresAtMs,
    reconnect: context.server.reconnect,
    limits: limitsForClients(context.limits),
  });
}

/**
 * Verifies a token.
 * @param where Where a token must be given, in words.
 * @returns The identity; `null` for an anonymous client, if these may connect.
 * @throws {ClientError} `unauthenticated`
 */
export async function identify(
  context: GatewayContext,
  token: string | undefined,
  address: string,
  where = "in hello",
): Promise<Identity | null> {
  const { auth, trust, refusals } = context;
  if (token === undefined) {
    if (auth.anonymous) return null;
    refusals.note("token-missing", { address });
    const text = `a token is needed: ${where}, or as Authorization: Bearer`;
    throw new ClientError("unauthenticated", text, CLOSE_CODES.notAuthenticated, { retry: "never" });
  }
  try {
    return await trust.verify(token);
  } catch (error) {
    if (!(error instanceof TidewireError) || error.code !== "unauthenticated") throw error;
    refusals.note(`token-${reasonOf(error)}`, { address });
    throw closingRefusal(error);
  }
}

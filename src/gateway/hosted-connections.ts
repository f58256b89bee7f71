import type { Identity } from "../auth/verify-token.ts";
import type { Account } from "../feed/account.ts";
import type { Connection, ConnectionEvents } from "./connection/connection.ts";
import { type OpenedConnection, openConnection } from "./connection/open-connection.ts";
import type { Transport } from "./connection/transport.ts";
import type { GatewayContext } from "./context.ts";
import { UserAccounts } from "./user-accounts.ts";

/** A connection of the service itself has no address. */
const NO_ADDRESS = "";

/**
 * Connections that the service opens for a user who is not connected, such as push registrations. Rights apply to them as
 * to any other connection. They have no client that could be slow or gone, so that no deadlines apply, and they are
 * charged to accounts of their own, so that they do not use up what the user's pages may use.
 */
export class HostedConnections implements ConnectionEvents {
  readonly #context: GatewayContext;
  readonly #accounts: UserAccounts;
  readonly #connections = new Set<Connection>();

  constructor(context: GatewayContext) {
    this.#context = context;
    this.#accounts = new UserAccounts(context.limits, (limit, outcome) =>
      context.metrics.limitHits.inc({ limit, outcome }),
    );
  }

  /** Opens a connection. It is authenticated by `inbox.authenticateByRequest`. */
  open(transport: Transport, nowMs: number): OpenedConnection {
    const opened = openConnection(this.#context, transport, NO_ADDRESS, this, nowMs);
    this.#connections.add(opened.connection);
    return opened;
  }

  onIdentified(_connection: Connection, identity: Identity | null): Account {
    return this.#accounts.of(identity, NO_ADDRESS);
  }

  onClosed(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** Drops accounts without charges. */
  sweep(nowMs: number): void {
    this.#accounts.sweep(nowMs);
  }

  keys(): IterableIterator<Connection> {
    return this.#connections.keys();
  }
}

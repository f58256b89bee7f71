/**
 * Identifies the user of a plain HTTP request, and charges the request to that user. The messages of connections are charged
 * by their inbox. A request that makes no connection is charged here, because a user with many addresses would otherwise
 * have the rate of each of them.
 */
import type { Identity } from "../../auth/verify-token.ts";
import type { Account } from "../../feed/account.ts";
import { TidewireError } from "../../protocol/errors.ts";
import { identify } from "../connection/handlers/hello.ts";
import { chargeUser } from "../connection/user-rates.ts";
import type { GatewayContext } from "../context.ts";

/** The accounts of the users of this node. */
interface Accounts {
  of(identity: Identity | null, address: string): Account;
}

/** The users who make requests without a connection. */
export class Callers {
  readonly #context: GatewayContext;
  readonly #accounts: Accounts;

  constructor(context: GatewayContext, accounts: Accounts) {
    this.#context = context;
    this.#accounts = accounts;
  }

  /**
   * Verifies the token of a request, and charges the request.
   * @param bytes The size of the request; that of its URL if that contains it.
   * @returns The identity; `null` for an anonymous client, if these may connect.
   * @throws {TidewireError} `unauthenticated`, `too-many-requests`
   */
  async identify(token: string | undefined, address: string, bytes: number): Promise<Identity | null> {
    const identity = await identify(this.#context, token, address);
    this.charge(identity, address, bytes);
    return identity;
  }

  /**
   * Charges a request of this many bytes to its user.
   * @throws {TidewireError} `too-many-requests`
   */
  charge(identity: Identity | null, address: string, bytes: number): void {
    const refusal = chargeUser(this.#context, this.#accounts.of(identity, address), bytes, Date.now());
    if (refusal === null) return;
    const { text, details, retryAfterMs } = refusal;
    throw new TidewireError("too-many-requests", text, details, { retryAfterMs });
  }
}

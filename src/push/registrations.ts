import { randomBytes } from "node:crypto";
import type { Identity } from "../auth/verify-token.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { HostedConnections } from "../gateway/hosted-connections.ts";
import { TidewireError } from "../protocol/errors.ts";
import type { ErrorMessage } from "../protocol/messages.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { PushLimit, PushStore, SavedRegistration } from "../source/push-store.ts";
import { authorizeOnce } from "./authorize-once.ts";
import type { PushLimits, PushOptions } from "./options.ts";
import { parseRegistration, registrationId } from "./parse-registration.ts";
import { partitionOf } from "./partition-of.ts";
import { toSavedIdentity } from "./saved-identity.ts";

/** The answer to `POST /v1/push`. */
export type Registered =
  | { readonly id: string; readonly expires: number }
  | { readonly refused: ErrorMessage };

/** A registration as its user sees it. It leaves out the keys of the browser. */
export interface ShownRegistration {
  readonly id: string;
  readonly collection: string;
  readonly filter: unknown;
  readonly on: readonly string[];
  readonly endpoint: string;
  readonly data?: unknown;
  /** In epoch milliseconds. */
  readonly expires: number;
  readonly state: "active" | "suspended";
}

/** The store, each operation with a timeout. */
export type RegistrationStore = Pick<PushStore, "put" | "list" | "remove">;

/** The parts of the endpoints. */
export interface RegistrationParts {
  readonly hosted: HostedConnections;
  readonly context: Pick<GatewayContext, "metrics">;
  readonly options: PushOptions;
  readonly limits: PushLimits;
  readonly publicKey: string;
  readonly store: RegistrationStore;
}

const REVISION_BYTES = 12;

const TEXTS: Readonly<Record<PushLimit, string>> = {
  pushPerUser: "this user has reached the limit of push registrations: remove one",
  pushRegistrations: "the service has reached its limit of push registrations",
};

/** The registrations of users, on any node. The node that serves them reads the changes. */
export class Registrations {
  readonly #parts: RegistrationParts;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
  }

  /**
   * Makes a registration, or renews an equal one.
   * @param fields The body of the request.
   * @param bytes Its size.
   * @throws {TidewireError} `bad-request`, `too-many-subscriptions`, `unavailable`
   */
  async register(identity: Identity, fields: unknown, bytes: number): Promise<Registered> {
    const { options, hosted, limits, store } = this.#parts;
    const request = parseRegistration(fields, options);
    const saved = toSavedIdentity(identity);
    if (saved === null) throw new TidewireError("unauthenticated", "the token needs a sub");
    const { collection, filter, endsAtMs, ...rest } = request;
    // The ticket must outlive the token, as the registration does.
    const lasting = { ...identity, expiresAtMs: null };
    const authorized = await authorizeOnce(hosted, lasting, { collection, filter }, bytes);
    if ("refused" in authorized) return authorized;
    const nowMs = Date.now();
    const id = registrationId(saved.subject, request);
    const expiresAtMs = Math.min(nowMs + options.lifetimeMs, endsAtMs ?? Number.POSITIVE_INFINITY);
    const over = await orUnavailable(
      store.put(
        {
          id,
          partition: partitionOf(saved.subject),
          identity: saved,
          request: { collection, filter: JSON.stringify(filter), ...rest },
          createdAtMs: nowMs,
          expiresAtMs,
          start: authorized,
          revision: randomBytes(REVISION_BYTES).toString("base64url"),
        },
        limits,
      ),
    );
    if (over !== null) throw this.#refusal(over);
    return { id, expires: expiresAtMs };
  }

  /** The registrations of a user, and the key that browsers need to subscribe. */
  async list(identity: Identity): Promise<{ key: string; registrations: ShownRegistration[] }> {
    const { store, publicKey } = this.#parts;
    const found = await orUnavailable(store.list(identity.subject ?? "", Date.now()));
    return { key: publicKey, registrations: found.map(shown) };
  }

  /**
   * Removes a registration of a user. No push begins after that.
   * @returns Whether it existed.
   */
  async remove(identity: Identity, id: string): Promise<{ removed: boolean }> {
    return { removed: await orUnavailable(this.#parts.store.remove(identity.subject ?? "", id)) };
  }

  #refusal(limit: PushLimit): TidewireError {
    const { limits, context } = this.#parts;
    context.metrics.limitHits.inc({ limit, outcome: "refused" });
    const text = `${TEXTS[limit]} (limits.${limit})`;
    return new TidewireError("too-many-subscriptions", text, { limit, value: limits[limit] });
  }
}

function shown({ id, request, expiresAtMs, suspended }: SavedRegistration): ShownRegistration {
  const { collection, filter, on, endpoint, data } = request;
  return {
    id,
    collection,
    filter: JSON.parse(filter),
    on,
    endpoint,
    ...(data === null ? {} : { data: JSON.parse(data) }),
    expires: expiresAtMs,
    state: suspended === null ? "active" : "suspended",
  };
}

function orUnavailable<T>(asked: Promise<T>): Promise<T> {
  return asked.catch((cause: unknown) => {
    if (!isMongoFailure(cause)) throw cause;
    const text = "MongoDB cannot be reached just now: try again later";
    throw new TidewireError("unavailable", text, {}, { cause });
  });
}

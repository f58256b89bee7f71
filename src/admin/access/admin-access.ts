import type { IncomingMessage } from "node:http";
import type { AdminOptions, AdminRole } from "../../gateway/admin-options.ts";
import { RateLimit } from "../../gateway/connection/rate-limit.ts";
import { HostNames } from "../../gateway/http/host-names.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { Admin } from "./admin.ts";
import type { Credentials } from "./credentials.ts";
import { sessionIdOf } from "./session-cookie.ts";
import { hasCsrf, type Session, type Sessions } from "./sessions.ts";
import { VerifyBudget } from "./verify-budget.ts";

/** The label of `tidewire_admin_refused_total`. */
export type AdminRefusalReason = "host" | "origin" | "token" | "token-rate" | "issuer" | "csrf" | "role";

/** The answer to a request that may not reach the admin listener. */
export class AdminRefusal extends Error {
  override readonly name = "AdminRefusal";
  readonly reason: AdminRefusalReason;
  readonly status: 401 | 403 | 421 | 429 | 503;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    reason: AdminRefusalReason,
    status: AdminRefusal["status"],
    text: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(text);
    this.reason = reason;
    this.status = status;
    this.headers = headers;
  }
}

/** The requirement of a path. */
export interface Need {
  /** `null` if any admin may. */
  readonly role: AdminRole | null;
  /** Whether the request changes something. A page must then prove that it can read the answers of this listener. */
  readonly changes: boolean;
}

/** The sender of a request that may pass. */
export interface Admitted {
  readonly admin: Admin;
  /** `null` for a request with a token of its own. */
  readonly session: Session | null;
}

/** The header that carries the CSRF token of a session. */
export const CSRF_HEADER = "x-tidewire-csrf";

/** How many requests without the right token are answered at once, and how many per second over time. */
const WRONG_TOKENS = { rate: 1, burst: 20 };

const NONE_SET =
  "this needs a token, and none is set: set server.admin.tokens (tidewire admin-token makes an entry), restart, and " +
  "send the secret as Authorization: Bearer SECRET";

/** Decides whether a request to the admin listener may have what it asks for. */
export class AdminAccess {
  readonly #hosts: HostNames;
  readonly #credentials: Credentials;
  readonly #sessions: Sessions;
  readonly #wrongTokens: RateLimit;
  readonly #verifications: VerifyBudget;

  constructor(
    { hosts, jwtChecks }: AdminOptions,
    credentials: Credentials,
    sessions: Sessions,
    nowMs: number,
  ) {
    this.#hosts = new HostNames(hosts);
    this.#credentials = credentials;
    this.#sessions = sessions;
    this.#wrongTokens = new RateLimit(WRONG_TOKENS.rate, WRONG_TOKENS.burst, nowMs);
    this.#verifications = new VerifyBudget(jwtChecks, nowMs);
  }

  /** Whether the request was made under a name of this listener. */
  refuseName({ headers: { host } }: IncomingMessage): AdminRefusal | null {
    if (this.#hosts.includes(host)) return null;
    const text = "this listener is not asked under that name: list the name in server.admin.hosts";
    return new AdminRefusal("host", 421, text);
  }

  /** Whether the request was made under a name of this listener, and by no page of another origin. */
  refuseHost(request: IncomingMessage): AdminRefusal | null {
    const refusal = this.refuseName(request);
    if (refusal !== null) return refusal;
    const { headers } = request;
    const { host, origin } = headers;
    const site = headers["sec-fetch-site"];
    const isOwnPage = origin === undefined || /^https?:\/\/(.+)$/.exec(origin)?.[1] === host;
    if (isOwnPage && (site === undefined || site === "same-origin" || site === "none")) return null;
    return new AdminRefusal("origin", 403, "web pages of another origin may not ask this");
  }

  /** Identifies the sender of a request, and checks that they may have what they ask for. */
  async admit(request: IncomingMessage, need: Need, nowMs: number): Promise<Admitted | AdminRefusal> {
    const refusal = this.refuseHost(request);
    if (refusal !== null) return refusal;
    const { authorization } = request.headers;
    const admitted =
      authorization === undefined
        ? await this.#admitSession(request, need, nowMs)
        : await this.#admitToken(authorization, request.socket.remoteAddress ?? "", nowMs);
    if (admitted instanceof AdminRefusal) return admitted;
    if (need.role === null || admitted.admin.roles.has(need.role)) return admitted;
    return new AdminRefusal("role", 403, `this needs the role ${need.role}, which this admin does not have`);
  }

  /**
   * Identifies an admin who logs in.
   * @param secret A token, a JWT, or the token of a one-time URL, which it uses up.
   * @param from The address of the sender.
   */
  logIn(secret: string, from: string, nowMs: number): Promise<Admin | AdminRefusal> {
    return this.#identify(secret, { from, mayUseUp: true, nowMs });
  }

  async #admitSession(
    request: IncomingMessage,
    { changes }: Need,
    nowMs: number,
  ): Promise<Admitted | AdminRefusal> {
    const id = sessionIdOf(request);
    // An invented id must not make the listener ask a login service for its keys.
    if (id !== null && this.#sessions.find(id, nowMs) !== null) await this.#credentials.tick(nowMs);
    const session = id === null ? null : this.#sessions.find(id, nowMs);
    if (session === null) return this.#refuseToken(false, nowMs);
    const header = request.headers[CSRF_HEADER];
    if (!changes || hasCsrf(session, typeof header === "string" ? header : undefined))
      return { admin: session.admin, session };
    const text = `a page sends the csrf of its session in the header ${CSRF_HEADER} with this request`;
    return new AdminRefusal("csrf", 403, text);
  }

  async #admitToken(authorization: string, from: string, nowMs: number): Promise<Admitted | AdminRefusal> {
    const [, token] = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization) ?? [];
    if (token === undefined) return this.#refuseToken(true, nowMs);
    const admin = await this.#identify(token, { from, mayUseUp: false, nowMs });
    return admin instanceof AdminRefusal ? admin : { admin, session: null };
  }

  async #identify(
    secret: string,
    {
      from,
      mayUseUp,
      nowMs,
    }: {
      readonly from: string;
      readonly mayUseUp: boolean;
      readonly nowMs: number;
    },
  ): Promise<Admin | AdminRefusal> {
    const beforeVerifying = () => {
      const waitMs = this.#verifications.take(from, nowMs);
      if (waitMs > 0) throw tooManyTokens(waitMs);
    };
    try {
      const admin = await this.#credentials.identify(secret, { mayUseUp, beforeVerifying });
      return admin ?? this.#refuseToken(true, nowMs);
    } catch (error) {
      if (error instanceof AdminRefusal) return error;
      if (error instanceof TidewireError && error.code === "unavailable") return noKeys(error);
      throw error;
    }
  }

  /**
   * The right token is accepted however many wrong ones came, because an attacker must not be able to lock the admin
   * out.
   */
  #refuseToken(isWrong: boolean, nowMs: number): AdminRefusal {
    if (!this.#credentials.exist) return new AdminRefusal("token", 403, NONE_SET);
    if (!this.#wrongTokens.take(1, nowMs)) return tooManyTokens(this.#wrongTokens.waitMs(1));
    const text = isWrong
      ? "this is no token of server.admin, or it was used or has expired"
      : "this needs a token of server.admin, sent as Authorization: Bearer SECRET, or a session";
    return new AdminRefusal("token", 401, text, { "www-authenticate": "Bearer" });
  }
}

const retryAfter = (waitMs: number) => ({ "retry-after": String(Math.max(1, Math.ceil(waitMs / 1_000))) });

const tooManyTokens = (waitMs: number): AdminRefusal =>
  new AdminRefusal("token-rate", 429, "too many requests without the right token: wait", retryAfter(waitMs));

/** The refusal of a JWT that cannot be checked. It may be right, so the status is not that of a wrong one. */
function noKeys({ retryAfterMs = 1_000 }: TidewireError): AdminRefusal {
  const text =
    "the signing keys of server.admin.jwt cannot be fetched, so no JWT can be checked: try again later, or use a token " +
    "of server.admin.tokens. The log says why";
  return new AdminRefusal("issuer", 503, text, retryAfter(retryAfterMs));
}

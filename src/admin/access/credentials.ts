import type { Logger } from "pino";
import { createVerifier, type Verifier } from "../../auth/verify-token.ts";
import { ADMIN_ROLES, type AdminOptions, type AdminRole } from "../../gateway/admin-options.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { Claims } from "../../rules/claims.ts";
import { compileClaimsFilter } from "../../rules/compile-rules.ts";
import type { Admin } from "./admin.ts";
import { digestOf, isSameDigest } from "./digest.ts";
import type { OneTimeToken } from "./one-time-token.ts";

const ALL_ROLES: ReadonlySet<AdminRole> = new Set(ADMIN_ROLES);
const always = () => true;

/** The name of the holder of `server.admin.token`, and of a one-time URL, in the audit. */
const TOKEN_NAME = "server.admin.token";
const ONE_TIME_NAME = "one-time URL";

interface KnownToken {
  readonly digest: Buffer;
  readonly admin: Admin;
}

interface AdminJwt {
  readonly verifier: Verifier;
  readonly grants: readonly { readonly role: AdminRole; readonly holds: (claims: Claims) => boolean }[];
}

/** Identifies admins by the secrets that the configuration knows, or by a JWT. */
export class Credentials {
  readonly #tokens: readonly KnownToken[];
  readonly #jwt: AdminJwt | null;
  readonly #oneTime: OneTimeToken | null;
  readonly #log: Logger;

  constructor(options: AdminOptions, oneTime: OneTimeToken | null, log: Logger) {
    const { token = "", tokens } = options;
    const admin = (name: string, roles: Iterable<AdminRole>): Admin => ({
      name,
      roles: new Set(roles),
      expiresAtMs: null,
      isTrusted: always,
    });
    this.#tokens = [
      ...(token === "" ? [] : [{ digest: digestOf(token), admin: admin(TOKEN_NAME, ALL_ROLES) }]),
      ...tokens.map(({ name, sha256, roles }) => ({
        digest: Buffer.from(sha256, "hex"),
        admin: admin(name, roles),
      })),
    ];
    this.#oneTime = oneTime;
    this.#log = log;
    this.#jwt = jwtOf(options, log);
  }

  /** Whether any credential could be right. */
  get exist(): boolean {
    return this.#tokens.length > 0 || this.#jwt !== null || this.#oneTime !== null;
  }

  /**
   * Identifies the holder of a secret.
   * @param mayUseUp Whether a one-time token is used up by it. It counts for a login only.
   * @returns `null` for a wrong one.
   * @throws {TidewireError} `unavailable` while the keys of `server.admin.jwt` are unknown.
   */
  async identify(secret: string, mayUseUp: boolean): Promise<Admin | null> {
    const digest = digestOf(secret);
    let found: Admin | null = null;
    // Every token is compared, so that the time does not depend on which one is right.
    for (const known of this.#tokens) if (isSameDigest(digest, known.digest)) found = known.admin;
    if (found !== null) return found;
    if (mayUseUp && this.#oneTime?.spend(digest) === true)
      return { name: ONE_TIME_NAME, roles: ALL_ROLES, expiresAtMs: null, isTrusted: always };
    return this.#jwt === null ? null : this.#identifyJwt(this.#jwt, secret);
  }

  /** Lets signing keys expire. To be called before `isTrusted` of an admin counts. */
  async tick(nowMs: number): Promise<void> {
    await this.#jwt?.verifier.tick(nowMs).catch((err: unknown) => {
      this.#log.error({ err }, "the signing keys of server.admin.jwt could not be kept up to date");
    });
  }

  async #identifyJwt({ verifier, grants }: AdminJwt, token: string): Promise<Admin | null> {
    try {
      const identity = await verifier.verify(token);
      const { claims, sub, expiresAtMs, signedBy } = identity;
      const roles = grants.filter(({ holds }) => holds(claims)).map(({ role }) => role);
      // The login service has other users as well.
      if (roles.length === 0) return null;
      const isTrusted = () => verifier.isTrusted(signedBy);
      return { name: sub ?? "a token without sub", roles: new Set(roles), expiresAtMs, isTrusted };
    } catch (error) {
      if (error instanceof TidewireError && error.code === "unauthenticated") return null;
      throw error;
    }
  }
}

function jwtOf({ jwt }: AdminOptions, log: Logger): AdminJwt | null {
  if (jwt === undefined) return null;
  const grants = ADMIN_ROLES.flatMap((role) => {
    const filter = jwt.when[role];
    const holds = filter === undefined ? undefined : compileClaimsFilter(filter);
    // The configuration has checked that the filter compiles.
    return typeof holds === "function" ? [{ role, holds }] : [];
  });
  const verifier = createVerifier(jwt, (event) => {
    if (event.type === "failed")
      log.warn({ err: event.error }, "the signing keys of server.admin.jwt could not be fetched");
  });
  return { verifier, grants };
}

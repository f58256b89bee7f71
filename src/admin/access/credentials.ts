import type { Logger } from "pino";
import { createVerifier, type Verifier } from "../../auth/verify-token.ts";
import { ADMIN_ROLES, type AdminOptions, type AdminRole } from "../../gateway/admin-options.ts";
import { SparseLog } from "../../metrics/sparse-log.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { Claims } from "../../rules/claims.ts";
import { compileClaimsFilter } from "../../rules/compile-rules.ts";
import type { Admin } from "./admin.ts";
import { nameOfJwt, nameOfToken, ONE_TIME_NAME, TOKEN_NAME } from "./admin-name.ts";
import { digestOf, isSameDigest } from "./digest.ts";
import type { OneTimeToken } from "./one-time-token.ts";

const ALL_ROLES: ReadonlySet<AdminRole> = new Set(ADMIN_ROLES);
const always = () => true;

/** The form of a signed JWT. Nothing else is worth a verification. */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** JWTs of admins that are remembered, because verifying them once more costs little. */
const PROVEN_MAX = 1_000;

/** How a secret may be checked. */
export interface IdentifyTerms {
  /** Whether a one-time token is used up by it. It counts for a login only. */
  readonly mayUseUp: boolean;
  /**
   * Asked before a JWT is verified that has not identified an admin before.
   * @throws {Error} It may not be verified now.
   */
  readonly beforeVerifying: () => void;
}

interface KnownToken {
  readonly digest: Buffer;
  readonly admin: Admin;
}

interface AdminJwt {
  readonly verifier: Verifier;
  readonly grants: readonly {
    readonly role: AdminRole;
    readonly holds: (claims: Claims) => boolean;
  }[];
}

/** Identifies admins by the secrets that the configuration knows, or by a JWT. */
export class Credentials {
  readonly #tokens: readonly KnownToken[];
  readonly #jwt: AdminJwt | null;
  readonly #oneTime: OneTimeToken | null;
  readonly #log: Logger;
  readonly #sparse = new SparseLog();
  /** Digests of JWTs that have identified an admin, the one used longest ago first. */
  readonly #proven = new Set<string>();

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
        admin: admin(nameOfToken(name), roles),
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

   * @returns `null` for a wrong one.
   * @throws {TidewireError} `unavailable` while the keys of `server.admin.jwt` are unknown.
   */
  async identify(secret: string, { mayUseUp, beforeVerifying }: IdentifyTerms): Promise<Admin | null> {
    const digest = digestOf(secret);
    let found: Admin | null = null;
    // Every token is compared, so that the time does not depend on which one is right.
    for (const known of this.#tokens) if (isSameDigest(digest, known.digest)) found = known.admin;
    if (found !== null) return found;
    if (mayUseUp && this.#oneTime?.spend(digest) === true)
      return { name: ONE_TIME_NAME, roles: ALL_ROLES, expiresAtMs: null, isTrusted: always };
    if (this.#jwt === null || !JWT.test(secret)) return null;
    const key = digest.toString("base64");
    if (!this.#proven.has(key)) beforeVerifying();
    const admin = await this.#identifyJwt(this.#jwt, secret);
    this.#remember(key, admin !== null);
    return admin;
  }

  /** Lets signing keys expire. To be called before `isTrusted` of an admin counts. */
  async tick(nowMs: number): Promise<void> {
    await this.#jwt?.verifier.tick(nowMs).catch((err: unknown) => {
      this.#sparse.write(nowMs, (more) =>
        this.#log.error(
          { err, ...more },
          "the signing keys of server.admin.jwt could not be kept up to date",
        ),
      );
    });
  }

  #remember(key: string, isProven: boolean): void {
    this.#proven.delete(key);
    if (isProven) this.#proven.add(key);
    const [oldest] = this.#proven;
    if (this.#proven.size > PROVEN_MAX && oldest !== undefined) this.#proven.delete(oldest);
  }

  async #identifyJwt({ verifier, grants }: AdminJwt, token: string): Promise<Admin | null> {
    try {
      const identity = await verifier.verify(token);
      const { claims, sub, expiresAtMs, signedBy } = identity;
      const iss = typeof claims["iss"] === "string" ? claims["iss"] : null;
      const roles = grants.filter(({ holds }) => holds(claims)).map(({ role }) => role);
      // The login service has other users as well.
      if (roles.length === 0) return null;
      const isTrusted = () => verifier.isTrusted(signedBy);
      return {
        name: nameOfJwt({ iss, sub }),
        roles: new Set(roles),
        expiresAtMs,
        isTrusted,
      };
    } catch (error) {
      if (error instanceof TidewireError && error.code === "unauthenticated") return null;
      throw error;
    }
  }
}

function jwtOf({ jwt }: AdminOptions, log: Logger): AdminJwt | null {
  if (jwt === undefined) return null;
  const sparse = new SparseLog();
  const grants = ADMIN_ROLES.flatMap((role) => {
    const filter = jwt.when[role];
    const holds = filter === undefined ? undefined : compileClaimsFilter(filter);
    // The configuration has checked that the filter compiles.
    return typeof holds === "function" ? [{ role, holds }] : [];
  });
  const verifier = createVerifier(jwt, (event) => {
    if (event.type !== "failed") return;
    sparse.write(Date.now(), (more) =>
      log.warn({ err: event.error, ...more }, "the signing keys of server.admin.jwt could not be fetched"),
    );
  });
  return { verifier, grants };
}

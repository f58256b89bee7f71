/**
 * Combines the reasons for which a token may be refused: its key, its expiry, its revocation. Everything that admits or
 * keeps a client asks here.
 */
import type { Logger } from "pino";
import { createVerifiers } from "../../auth/issuers.ts";
import { type JwtOptions, toleranceOf } from "../../auth/options.ts";
import {
  BY_CONFIGURATION,
  hasExpired,
  type Identity,
  tokenRefusal,
  type Verifier,
} from "../../auth/verify-token.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { Revocations } from "./revocations.ts";

/**
 * Decides which tokens may connect now. A verified token may lose that later: its signing key is retired, it is
 * revoked, or it expires. So the result of `verify` is valid for that moment only, and `refusalOf` is asked again where
 * the identity takes effect.
 */
export class Trust {
  readonly #verifier: Verifier;
  readonly #clockToleranceMs: number;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #revocations: Revocations | null;
  readonly #listeners = new Set<() => void>();

  /** @param revocations `null` if this node does not follow them. */
  constructor(
    jwt: readonly JwtOptions[] | undefined,
    revocations: Revocations | null,
    { metrics, log }: { metrics: Metrics; log: Logger },
  ) {
    this.#clockToleranceMs = toleranceOf(jwt);
    this.#revocations = revocations;
    revocations?.onChange(() => this.#changed());
    this.#metrics = metrics;
    this.#log = log;
    this.#verifier = createVerifiers(jwt, (event, issuers) => {
      metrics.jwksFetches.inc({ outcome: event.type });
      if (event.type === "failed") {
        this.#log.warn(
          { err: event.error, issuers },
          "the signing keys could not be fetched; the known ones stay in use",
        );
        return;
      }
      if (event.type === "expired") {
        this.#log.error(
          { issuers },
          "the signing keys could not be fetched for auth.jwt.jwksStaleMax: until they can, no token that they sign is accepted, and its connections close",
        );
      }
      this.#changed();
    });
  }

  /**
   * Verifies a token.
   * @throws {TidewireError} `unauthenticated`, `unavailable`
   */
  async verify(token: string): Promise<Identity> {
    try {
      const identity = await this.#verifier.verify(token);
      const refusal = this.refusalOf(identity);
      if (refusal !== null) throw refusal;
      return identity;
    } catch (error) {
      if (error instanceof TidewireError && error.code === "unauthenticated")
        this.#metrics.tokensRefused.inc({ reason: String(error.details["reason"]) });
      throw error;
    }
  }

  /**
   * Loads the keys that `refusalOf` needs for an identity that another node has verified.
   * @throws {TidewireError} `unavailable`
   */
  ensureKeys(identity: Identity): Promise<void> {
    return this.#verifier.ensureKeys(identity.signedBy, Date.now());
  }

  /**
   * Why a verified token must not connect; `null` if it may. The token may have expired since it was verified, because
   * a signing key had to be fetched or a single-use key had to be spent.
   */
  refusalOf(identity: Identity, nowMs = Date.now()): TidewireError | null {
    if (!this.#isSigned(identity)) return tokenRefusal("key-unknown");
    if (hasExpired(identity, this.#clockToleranceMs, nowMs)) return tokenRefusal("expired");
    return this.#revocations?.refusalOf(identity, nowMs) ?? null;
  }

  /** Why a connection must end; `null` if it may stay. */
  endOf(identity: Identity): TidewireError | null {
    if (!this.#isSigned(identity)) return tokenRefusal("key-unknown");
    return this.#revocations?.endOf(identity) ?? null;
  }

  /** Whether a client may receive data of a cluster time that the stream has not reached yet. */
  mayRead(identity: Identity | null, clusterTime: bigint): Promise<boolean> {
    if (identity === null || this.#revocations === null) return Promise.resolve(true);
    return this.#revocations.mayRead(identity, clusterTime);
  }

  /** Calls `listener`, in the same turn, whenever the answer of `endOf` may have changed for a client. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** To be called about every second. */
  tick(nowMs: number): void {
    const ageMs = this.#verifier.keysAgeMs(nowMs);
    if (ageMs !== null) this.#metrics.jwksAge.set(ageMs / 1_000);
    this.#verifier.tick(nowMs).catch((error: unknown) => {
      this.#log.error({ err: error }, "the signing keys could not be kept up to date");
    });
  }

  #isSigned({ signedBy }: Identity): boolean {
    return signedBy === BY_CONFIGURATION || this.#verifier.isTrusted(signedBy);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

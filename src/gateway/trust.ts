import type { Logger } from "pino";
import type { JwtOptions } from "../auth/options.ts";
import { createVerifier, type Identity, tokenRefusal, type Verifier } from "../auth/verify-token.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";

/**
 * Which tokens may connect now. A token that was verified once may lose that later, when its signing key is retired: so
 * what `verify` says holds for that moment, and `refusalOf` is asked again where the identity takes effect.
 */
export class Trust {
  readonly #verifier: Verifier;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #listeners = new Set<() => void>();

  constructor(jwt: JwtOptions | undefined, { metrics, log }: { metrics: Metrics; log: Logger }) {
    this.#metrics = metrics;
    this.#log = log;
    this.#verifier = createVerifier(jwt, (event) => {
      metrics.jwksFetches.inc({ outcome: event.type });
      if (event.type === "failed") {
        this.#log.warn(
          { err: event.error },
          "the signing keys could not be fetched; the known ones stay in use",
        );
        return;
      }
      if (event.type === "expired") {
        this.#log.error(
          "the signing keys could not be fetched for auth.jwt.jwksStaleMax: no token is accepted, and connections close, until they can",
        );
      }
      this.#changed();
    });
  }

  /** Verifies a token. @throws {TidewireError} `unauthenticated`, `unavailable` */
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

  /** Makes sure that `refusalOf` can judge an identity that another node has verified. @throws {TidewireError} `unavailable` */
  ensureKeys(): Promise<void> {
    return this.#verifier.ensureKeys(Date.now());
  }

  /** Why a verified token must not connect or stay connected; `null` if it may. */
  refusalOf({ signedBy }: Identity): TidewireError | null {
    return this.#verifier.isTrusted(signedBy) ? null : tokenRefusal("key-unknown");
  }

  /** Calls `listener`, in the same turn, whenever `refusalOf` may answer differently for somebody. */
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

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

/**
 * Bounds the verification of tokens that nobody has proven yet. A signature check costs far more than the request that
 * asks for it, and with an issuer that does not answer, the request waits as well.
 */
import { RateLimit } from "../../gateway/connection/rate-limit.ts";
import { networkOf, normalizeAddress } from "../../gateway/http/client-network.ts";

/** The part of all verifications per second that one network has, and how many seconds of the rate are taken at once. */
const SHARE = 1 / 5;
const AT_ONCE = { ofOneNetwork: 5, ofAll: 2 };
/** Networks whose rates are remembered. */
const NETWORKS_MAX = 1_000;

/** Counts verifications for each network and for all together, so that one sender cannot use up the rate of all. */
export class VerifyBudget {
  readonly #rate: number;
  readonly #all: RateLimit;
  /** The one that asked longest ago comes first. */
  readonly #byNetwork = new Map<string, RateLimit>();

  /** @param rate Verifications per second over time, of all networks together. */
  constructor(rate: number, nowMs: number) {
    this.#rate = rate;
    this.#all = new RateLimit(rate, AT_ONCE.ofAll * rate, nowMs);
  }

  /**
   * Takes one verification.
   * @param from The address of the sender.
   * @returns 0 if it was taken, otherwise the milliseconds until one is available.
   */
  take(from: string, nowMs: number): number {
    const own = this.#bucketOf(networkOf(normalizeAddress(from)), nowMs);
    for (const bucket of [own, this.#all]) if (!bucket.take(1, nowMs)) return Math.max(1, bucket.waitMs(1));
    return 0;
  }

  #bucketOf(network: string, nowMs: number): RateLimit {
    const rate = SHARE * this.#rate;
    const bucket = this.#byNetwork.get(network) ?? new RateLimit(rate, AT_ONCE.ofOneNetwork * rate, nowMs);
    this.#byNetwork.delete(network);
    this.#byNetwork.set(network, bucket);
    const [oldest] = this.#byNetwork.keys();
    if (this.#byNetwork.size > NETWORKS_MAX && oldest !== undefined) this.#byNetwork.delete(oldest);
    return bucket;
  }
}

/**
 * Bounds the verification of tokens that nobody has proven yet. A signature check costs far more than the request that
 * asks for it, and with an issuer that does not answer, the request waits as well.
 */
import { RateLimit } from "../../gateway/connection/rate-limit.ts";
import { networkOf, normalizeAddress } from "../../gateway/http/client-network.ts";

/** Verifications per second over time, and at once. */
const OF_ONE_NETWORK = { rate: 10, burst: 50 };
const OF_ALL = { rate: 50, burst: 100 };
/** Networks whose rates are remembered. */
const NETWORKS_MAX = 1_000;

/** Counts verifications for each network and for all together, so that one sender cannot use up the rate of all. */
export class VerifyBudget {
  readonly #all: RateLimit;
  /** The one that asked longest ago comes first. */
  readonly #byNetwork = new Map<string, RateLimit>();

  constructor(nowMs: number) {
    this.#all = new RateLimit(OF_ALL.rate, OF_ALL.burst, nowMs);
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
    const bucket =
      this.#byNetwork.get(network) ?? new RateLimit(OF_ONE_NETWORK.rate, OF_ONE_NETWORK.burst, nowMs);
    this.#byNetwork.delete(network);
    this.#byNetwork.set(network, bucket);
    const [oldest] = this.#byNetwork.keys();
    if (this.#byNetwork.size > NETWORKS_MAX && oldest !== undefined) this.#byNetwork.delete(oldest);
    return bucket;
  }
}

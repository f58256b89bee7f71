import type { IncomingMessage } from "node:http";
import { RateLimit } from "../connection/rate-limit.ts";
import type { GatewayLimits } from "../limits.ts";
import type { ServerOptions } from "../options.ts";
import { networkOf, normalizeAddress, TrustedProxies } from "./client-network.ts";

/** Counts by a key, which is forgotten at zero. */
class Counts {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, by: 1 | -1): void {
    const count = this.of(key) + by;
    if (count <= 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
  }
}

/** Which rate is passed, and after how many milliseconds it is not any more. */
export interface OverRate {
  readonly limit: "connectRate" | "connectRatePerAddress";
  readonly value: number;
  readonly waitMs: number;
}

/** So many buckets, and those that are full again are forgotten. */
const BUCKETS_MAX = 10_000;

/**
 * Decides whether a client may connect, before anything is spent on it: rates and counts of the whole node, of an address, and,
 * once it is known, of a user.
 */
export class Admission {
  readonly #limits: GatewayLimits;
  readonly #trusted: TrustedProxies;
  readonly #rate: RateLimit;
  readonly #rateByAddress = new Map<string, RateLimit>();
  readonly #byAddress = new Counts();
  readonly #connectionsMax: number;
  #connections = 0;

  constructor(limits: GatewayLimits, server: ServerOptions, connectionsMax: number, nowMs: number) {
    this.#limits = limits;
    this.#connectionsMax = limits.connections ?? connectionsMax;
    this.#rate = new RateLimit(limits.connectRate, Math.max(1, limits.connectRate), nowMs);
    this.#trusted = new TrustedProxies(server.trustedProxies);
  }

  get connections(): number {
    return this.#connections;
  }

  /** The client's address; what a proxy says of it counts only from a trusted one. */
  addressOf(request: IncomingMessage): string {
    const hops = String(request.headers["x-forwarded-for"] ?? "")
      .split(",")
      .map((hop) => hop.trim())
      .filter((hop) => hop !== "");
    let address = normalizeAddress(request.socket.remoteAddress ?? "");
    // From the right: each trusted proxy vouches for the one before it, and nobody for the rest.
    while (this.#trusted.includes(address)) {
      const hop = hops.pop();
      if (hop === undefined) break;
      address = normalizeAddress(hop);
    }
    return address;
  }

  /** The rate that a new connection passes, if any; otherwise it is counted. */
  overRate(address: string, nowMs: number): OverRate | null {
    const bucket = this.#bucketOf(networkOf(address), nowMs);
    if (!bucket.take(1, nowMs)) return this.#overRate("connectRatePerAddress", bucket);
    return this.#rate.take(1, nowMs) ? null : this.#overRate("connectRate", this.#rate);
  }

  /** Whether the connections counted by now are more than the node bears. */
  isOverFull(): boolean {
    return this.#connections > this.#connectionsMax;
  }

  addressIsOverFull(address: string): boolean {
    return this.#byAddress.of(networkOf(address)) > this.#limits.connectionsPerAddress;
  }

  connected(address: string): void {
    this.#connections++;
    this.#byAddress.add(networkOf(address), 1);
  }

  disconnected(address: string): void {
    this.#connections--;
    this.#byAddress.add(networkOf(address), -1);
  }

  #overRate(limit: OverRate["limit"], bucket: RateLimit): OverRate {
    return { limit, value: this.#limits[limit], waitMs: Math.max(1, bucket.waitMs(1)) };
  }

  #bucketOf(address: string, nowMs: number): RateLimit {
    const known = this.#rateByAddress.get(address);
    if (known !== undefined) return known;
    if (this.#rateByAddress.size >= BUCKETS_MAX) this.#forgetFullBuckets(nowMs);
    const { connectRatePerAddress, connectBurstPerAddress } = this.#limits;
    const bucket = new RateLimit(connectRatePerAddress, connectBurstPerAddress, nowMs);
    this.#rateByAddress.set(address, bucket);
    return bucket;
  }

  /** Bounded even against ever new addresses: where none is full again, the oldest go. */
  #forgetFullBuckets(nowMs: number): void {
    for (const [address, bucket] of this.#rateByAddress) {
      if (bucket.isFull(nowMs)) this.#rateByAddress.delete(address);
    }
    for (const address of this.#rateByAddress.keys()) {
      if (this.#rateByAddress.size < BUCKETS_MAX) break;
      this.#rateByAddress.delete(address);
    }
  }
}

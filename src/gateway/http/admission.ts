/**
 * Limits new connections before anything is spent on them. A TLS handshake, a token check and a snapshot are expensive,
 * so the checks by rate and by count come first.
 */
import { RateLimit } from "../connection/rate-limit.ts";
import type { GatewayLimits } from "../limits.ts";
import type { ServerOptions } from "../options.ts";
import { networkOf, normalizeAddress, TrustedProxies } from "./client-network.ts";
import type { RequestHead } from "./request-head.ts";

/** Counts by key. A key with the count zero is dropped. */
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

/** The exceeded rate, and the time until it allows another connection. */
export interface OverRate {
  readonly limit: "connectRate" | "connectRatePerAddress";
  readonly value: number;
  readonly waitMs: number;
}

/** The number of buckets that are kept. Full buckets are dropped first, because a new bucket is full as well. */
const BUCKETS_MAX = 10_000;

/**
 * Decides whether a client may connect, before anything is spent on it: by rates and counts of the whole node and of an
 * address.
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

  /** The client's address. A forwarding header counts only if it was sent by a trusted proxy. */
  addressOf(request: RequestHead): string {
    const hops = String(request.headers["x-forwarded-for"] ?? "")
      .split(",")
      .map((hop) => hop.trim())
      .filter((hop) => hop !== "");
    let address = normalizeAddress(request.socket.remoteAddress ?? "");
    // From the right: each trusted proxy vouches for the hop before it, and nothing vouches for the rest.
    while (this.#trusted.includes(address)) {
      const hop = hops.pop();
      if (hop === undefined) break;
      address = normalizeAddress(hop);
    }
    return address;
  }

  /** The rate that a new connection exceeds, if any. Otherwise the connection is counted. */
  overRate(address: string, nowMs: number): OverRate | null {
    const bucket = this.#bucketOf(networkOf(address), nowMs);
    if (!bucket.take(1, nowMs)) return this.#overRate("connectRatePerAddress", bucket);
    return this.#rate.take(1, nowMs) ? null : this.#overRate("connectRate", this.#rate);
  }

  /** Whether more connections were counted than the node allows. */
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

  /** Keeps the map bounded even against ever new addresses. If no bucket is full, the oldest are dropped. */
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

import { networkOf, normalizeAddress, type TrustedProxies } from "./client-network.ts";

/** The most sockets that may be open at once. */
export interface SocketLimits {
  readonly total: number;
  readonly perAddress: number;
}

/** A listener that can close an idle socket, when another socket needs the room. */
export interface IdleSockets {
  /** Since when its longest idle socket has been idle, in epoch milliseconds; `null` if no socket is idle. */
  idleSinceMs(): number | null;
  /** Closes its longest idle socket, and releases its count. */
  evict(): void;
}

/** One counted socket. */
export class CountedSocket {
  readonly #end: (network: string | null) => void;
  readonly #network: string | null;
  #isCounted = true;

  /** @param network For which it is counted; `null` for a trusted proxy. */
  constructor(network: string | null, end: (network: string | null) => void) {
    this.#network = network;
    this.#end = end;
  }

  /** Whether the socket is of a trusted proxy, which carries many clients. */
  get isOfProxy(): boolean {
    return this.#network === null;
  }

  /** Ends the count. Further calls do nothing. */
  release(): void {
    if (this.#isCounted) this.#end(this.#network);
    this.#isCounted = false;
  }
}

/** The limit that refuses a socket. */
export type SocketLimitReached = "node-full" | "address-limit";

/**
 * Counts TCP connections from the moment they are accepted, before a byte of a TLS handshake or a request was read. A
 * trusted proxy carries many clients, so its sockets count towards the total only.
 */
export class OpenSockets {
  readonly #limits: SocketLimits;
  readonly #proxies: TrustedProxies | null;
  readonly #byNetwork = new Map<string, number>();
  readonly #listeners: IdleSockets[] = [];
  #count = 0;
  /** One for all sockets. */
  readonly #end = (network: string | null): void => this.#change(network, -1);

  constructor(limits: SocketLimits, proxies: TrustedProxies | null) {
    this.#limits = limits;
    this.#proxies = proxies;
  }

  get count(): number {
    return this.#count;
  }

  /** Lets idle sockets of a listener make room for new sockets of every listener. */
  evictFrom(listener: IdleSockets): void {
    this.#listeners.push(listener);
  }

  /**
   * Counts a socket, until it is released. On a full node, the longest idle socket of all listeners is closed for it.
   * @returns The limit that it would exceed, if there is no room.
   */
  admit(remoteAddress: string | undefined): CountedSocket | SocketLimitReached {
    let reached = this.limitReached(remoteAddress);
    if (reached === "node-full" && this.#evict()) reached = this.limitReached(remoteAddress);
    return reached ?? this.add(remoteAddress);
  }

  /** The limit that one more socket from this address would exceed; `null` if there is room. */
  limitReached(remoteAddress: string | undefined): SocketLimitReached | null {
    const network = this.#networkOf(remoteAddress);
    const open = network === null ? 0 : (this.#byNetwork.get(network) ?? 0);
    if (open >= this.#limits.perAddress) return "address-limit";
    return this.#count >= this.#limits.total ? "node-full" : null;
  }

  /** Counts a socket, until it is released. */
  add(remoteAddress: string | undefined): CountedSocket {
    const network = this.#networkOf(remoteAddress);
    this.#change(network, 1);
    return new CountedSocket(network, this.#end);
  }

  /** @returns Whether there was an idle socket. */
  #evict(): boolean {
    let longest: IdleSockets | null = null;
    let sinceMs = Number.POSITIVE_INFINITY;
    for (const listener of this.#listeners) {
      const idleSinceMs = listener.idleSinceMs();
      if (idleSinceMs === null || idleSinceMs >= sinceMs) continue;
      longest = listener;
      sinceMs = idleSinceMs;
    }
    longest?.evict();
    return longest !== null;
  }

  #change(network: string | null, by: 1 | -1): void {
    this.#count += by;
    if (network === null) return;
    const open = (this.#byNetwork.get(network) ?? 0) + by;
    if (open === 0) this.#byNetwork.delete(network);
    else this.#byNetwork.set(network, open);
  }

  /** `null` for a trusted proxy. A peer that has already left has no address. */
  #networkOf(remoteAddress: string | undefined): string | null {
    const address = normalizeAddress(remoteAddress ?? "");
    return this.#proxies?.includes(address) ? null : networkOf(address);
  }
}

import { networkOf, normalizeAddress, type TrustedProxies } from "./client-network.ts";

/** The most sockets that may be open at once. */
export interface SocketLimits {
  readonly total: number;
  readonly perAddress: number;
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

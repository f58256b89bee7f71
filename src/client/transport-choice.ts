/**
 * Chooses between WebSocket, SSE and polls. Some networks break WebSockets, and nothing reports that reliably, so the
 * client tries the next transport after repeated failures and returns to the first one later.
 */
import type { HttpTransport } from "./http-transport.ts";
import type { Link } from "./link.ts";
import { type Target, TRANSPORTS, type TransportEvents, type TransportKind } from "./transport.ts";

/** Which transports a client uses, and when. */
export interface FallbackOptions {
  /** The permitted transports, best first. Default: WebSocket, SSE and long polling. */
  readonly transports?: readonly TransportKind[] | undefined;
  readonly fetch?: typeof fetch | undefined;
  /**
   * After this time on another transport than the first one, the client tries the first one again, in milliseconds.
   * Default: 300000.
   */
  readonly upgradeAfterMs?: number | undefined;
}

const UPGRADE_AFTER_MS = 300_000;

/** Consecutive failures before the next transport is tried. */
const FAILURES_PER_TRANSPORT = 2;
/**
 * A first choice that has worked before was probably not the cause, so it is tried again this soon, in milliseconds.
 */
const BACK_TO_FIRST_MS = 5_000;

/** Chooses the transport of the next connection, best first. */
export class TransportChoice {
  /** Whether the client begins with another transport because the runtime has no WebSocket. */
  readonly lacksWebSocket: boolean;
  readonly #kinds: readonly TransportKind[];
  readonly #fetch: typeof fetch;
  readonly #upgradeAfterMs: number;
  #index = 0;
  #failures = 0;
  /** Whether the first choice has worked since it was last considered broken. */
  #firstHasWorked = false;

  /** @throws {TypeError} The option `transports` contains none that can be used, or one that does not exist. */
  constructor(options: FallbackOptions, hasWebSocket: boolean) {
    this.lacksWebSocket = options.transports === undefined && !hasWebSocket;
    this.#kinds = usableOf(options.transports ?? TRANSPORTS, hasWebSocket);
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#upgradeAfterMs = options.upgradeAfterMs ?? UPGRADE_AFTER_MS;
  }

  /** The best transport. */
  get first(): TransportKind {
    return this.#kinds[0] ?? "ws";
  }

  /** The transport of the next connection. */
  get kind(): TransportKind {
    return this.#kinds[this.#index] ?? "ws";
  }

  /** A connection was welcomed. */
  welcomed({ transport }: Link): void {
    if (transport?.kind === this.first) this.#firstHasWorked = true;
  }

  /** This connection is the one in use from now on. */
  use({ transport }: Link): void {
    this.#index = Math.max(0, this.#kinds.indexOf(transport?.kind ?? "ws"));
  }

  /** The connection in use has ended. After a few that were never welcomed, the next transport is chosen. */
  ended({ greeting, hasToken }: Link): void {
    if (greeting !== undefined) this.#failures = 0;
    else if (hasToken && ++this.#failures % FAILURES_PER_TRANSPORT === 0) {
      this.#index = (this.#index + 1) % this.#kinds.length;
    }
  }

  /**
   * When to try the first choice again, in milliseconds; `undefined` while it is in use. The cause may pass, or was
   * only an outage of the service.
   */
  upgradeMs(): number | undefined {
    if (this.#index === 0) return undefined;
    const mostMs = this.#firstHasWorked ? BACK_TO_FIRST_MS : this.#upgradeAfterMs;
    this.#firstHasWorked = false;
    return Math.min(mostMs, this.#upgradeAfterMs);
  }

  /**
   * Gets the transports over HTTP. Few clients ever need them, so bundlers put them into a file that only those clients fetch.
   * @returns A function that opens one.
   */
  async load(): Promise<(kind: "sse" | "poll", target: Target, events: TransportEvents) => HttpTransport> {
    const { HttpTransport } = await import("./http-transport.ts");
    return (kind, target, events) => new HttpTransport(kind, { ...target, fetch: this.#fetch }, events);
  }
}

function usableOf(wanted: readonly TransportKind[], hasWebSocket: boolean): readonly TransportKind[] {
  const unknown = wanted.find((kind) => !TRANSPORTS.includes(kind));
  const usable = wanted.filter((kind) => kind !== "ws" || hasWebSocket);
  if (unknown !== undefined || usable.length === 0) {
    const lack =
      wanted.length > 0 && unknown === undefined ? "; this runtime has no WebSocket: pass one" : "";
    const names = TRANSPORTS.join(", ");
    throw new TypeError(
      `the option \`transports\` of createClient takes some of ${names}, not [${wanted}]${lack}`,
    );
  }
  return usable;
}

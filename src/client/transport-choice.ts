/**
 * Chooses between WebSocket, SSE and polls. Some networks break WebSockets, and nothing reports that reliably, so the
 * client tries the next transport after repeated failures and returns to the first one later.
 */
import type { Link } from "./link.ts";
import type { TransportKind } from "./transport.ts";

/** Consecutive failures before the next transport is tried. */
const FAILURES_PER_TRANSPORT = 2;
/**
 * A first choice that has worked before was probably not the cause, so it is tried again this soon, in milliseconds.
 */
const BACK_TO_FIRST_MS = 5_000;

/** Chooses the transport of the next connection, best first. */
export class TransportChoice {
  readonly #kinds: readonly TransportKind[];
  readonly #upgradeAfterMs: number;
  #index = 0;
  #failures = 0;
  /** Whether the first choice has worked since it was last considered broken. */
  #firstHasWorked = false;

  /** @param upgradeAfterMs After this time on another transport, the first one is tried again, in milliseconds. */
  constructor(kinds: readonly TransportKind[], upgradeAfterMs: number) {
    this.#kinds = kinds;
    this.#upgradeAfterMs = upgradeAfterMs;
  }

  /** The transport of the next connection. */
  get kind(): TransportKind {
    return this.#kinds[this.#index] ?? "ws";
  }

  /** A connection was welcomed. */
  welcomed({ transport }: Link): void {
    if (transport?.kind === this.#kinds[0]) this.#firstHasWorked = true;
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
}

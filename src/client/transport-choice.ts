import type { Link } from "./link.ts";
import type { TransportKind } from "./transport.ts";

/** Failures in a row before the next transport is tried. */
const FAILURES_PER_TRANSPORT = 2;
/** A first choice that has worked before was probably not the fault: it is tried again this soon, in milliseconds. */
const BACK_TO_FIRST_MS = 5_000;

/** Chooses the transport of the next connection, best first. */
export class TransportChoice {
  readonly #kinds: readonly TransportKind[];
  readonly #upgradeAfterMs: number;
  #index = 0;
  #failures = 0;
  /** The first choice has worked since the last time that it was considered broken. */
  #firstHasWorked = false;

  /** @param upgradeAfterMs After so long on a second choice the first is tried again, in milliseconds. */
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

  /** The connection in use has ended; after a few that were never welcomed the next transport is chosen. */
  ended({ greeting, hasToken }: Link): void {
    if (greeting !== undefined) this.#failures = 0;
    else if (hasToken && ++this.#failures % FAILURES_PER_TRANSPORT === 0) {
      this.#index = (this.#index + 1) % this.#kinds.length;
    }
  }

  /**
   * When to try the first choice again, in milliseconds: the reason for the second choice may pass, or was only a
   * service that was away. `undefined` while the first choice is in use.
   */
  upgradeMs(): number | undefined {
    if (this.#index === 0) return undefined;
    const mostMs = this.#firstHasWorked ? BACK_TO_FIRST_MS : this.#upgradeAfterMs;
    this.#firstHasWorked = false;
    return Math.min(mostMs, this.#upgradeAfterMs);
  }
}

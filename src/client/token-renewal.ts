import { TidewireError } from "../protocol/errors.ts";
import type { Tokens } from "./tokens.ts";

/** How long before its expiry a token is renewed if the service sends no notice, in milliseconds. */
const AHEAD_MS = 30_000;
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Events of a renewal, for the session. */
export interface RenewalEvents {
  /** There is a new token. */
  renewed(token: string): void;
  failed(error: TidewireError): void;
}

/** Renews the token before it expires: when the service announces the expiry, or by the clock. */
export class TokenRenewal {
  readonly #tokens: Tokens;
  readonly #events: RenewalEvents;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #expiresAtMs: number | null = null;

  constructor(tokens: Tokens, events: RenewalEvents) {
    this.#tokens = tokens;
    this.#events = events;
  }

  /** The token in use expires at this time, in epoch milliseconds. */
  expires(expiresAtMs: number | null): void {
    this.#tokens.noteExpiry(expiresAtMs);
    this.#expiresAtMs = expiresAtMs;
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const leftMs = (this.#expiresAtMs ?? 0) - Date.now();
    // There is no expiry, or the local clock is wrong. In that case the notice or the end of the connection causes the
    // renewal.
    if (leftMs <= 0) return;
    const delayMs = leftMs - Math.min(AHEAD_MS, leftMs / 2);
    this.#timer = setTimeout(() => void this.renew(), Math.min(delayMs, TIMER_MAX_MS));
  }

  async renew(): Promise<void> {
    clearTimeout(this.#timer);
    const before = this.#tokens.current;
    try {
      const token = await this.#tokens.get(true);
      if (token !== undefined && token !== before) {
        this.#events.renewed(token);
        return;
      }
    } catch (cause) {
      const message = "no new token was available; the old one expires";
      this.#events.failed(new TidewireError("unauthenticated", message, {}, { cause }));
    }
    // Many applications keep a token until shortly before its expiry: asks again after half of the time that is left.
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#expiresAtMs = null;
  }
}

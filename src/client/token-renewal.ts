import { TidewireError } from "../protocol/errors.ts";
import type { Tokens } from "./tokens.ts";

/** Ahead of the token's end, where the service's own notice does not come; in milliseconds. */
const AHEAD_MS = 30_000;
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Tells the session about a renewal. */
export interface RenewalEvents {
  /** There is another token. */
  renewed(token: string): void;
  failed(error: TidewireError): void;
}

/** Gets another token before the one in use runs out: when the service says so, or by the clock. */
export class TokenRenewal {
  readonly #tokens: Tokens;
  readonly #events: RenewalEvents;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(tokens: Tokens, events: RenewalEvents) {
    this.#tokens = tokens;
    this.#events = events;
  }

  /** The token in use is good until then, in epoch milliseconds. */
  expires(expiresAtMs: number | null): void {
    this.#tokens.told(expiresAtMs);
    this.stop();
    const leftMs = (expiresAtMs ?? 0) - Date.now();
    // None at all, or a clock that is wrong: then the notice, or the end, has to tell.
    if (leftMs <= 0) return;
    const delayMs = leftMs - Math.min(AHEAD_MS, leftMs / 2);
    this.#timer = setTimeout(() => void this.renew(), Math.min(delayMs, TIMER_MAX_MS));
  }

  async renew(): Promise<void> {
    this.stop();
    const before = this.#tokens.current;
    try {
      const token = await this.#tokens.get(true);
      if (token !== undefined && token !== before) this.#events.renewed(token);
    } catch (cause) {
      const message = "no new token was available; the old one expires";
      this.#events.failed(new TidewireError("unauthenticated", message, {}, { cause }));
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

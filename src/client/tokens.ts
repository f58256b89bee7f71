import { TidewireError } from "../protocol/errors.ts";

/** Returns a token, or nothing for an anonymous connection. */
export type TokenProvider = () => string | undefined | null | Promise<string | undefined | null>;

/** A token that expires within this time is not used for a new connection, in milliseconds. */
const MARGIN_MS = 5_000;
/** How long before its expiry a token is renewed if the service sends no notice, in milliseconds. */
const AHEAD_MS = 30_000;
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Events of a renewal, for the session. */
export interface TokenEvents {
  /** There is a new token for the connection in use. */
  renewed(token: string): void;
  failed(error: TidewireError): void;
}

/**
 * Asks the application for tokens, and renews the one in use before it expires: when the service announces the expiry, or by
 * the clock. Callers at the same time share one request, and the last token is used as long as it is valid.
 */
export class Tokens {
  readonly #provide: TokenProvider | undefined;
  readonly #events: TokenEvents;
  #token: string | undefined;
  #expiresAtMs: number | null = null;
  #asking: Promise<string | undefined> | undefined;
  #isInUse = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(provide: TokenProvider | undefined, events: TokenEvents) {
    this.#provide = provide;
    this.#events = events;
  }

  forget(): void {
    this.#token = undefined;
  }

  /**
   * Gets a token.
   * @param fresh The last one is not valid any more, or expires soon.
   */
  async get(fresh: boolean): Promise<string | undefined> {
    const isGood = this.#expiresAtMs === null || Date.now() < this.#expiresAtMs - MARGIN_MS;
    if (!fresh && isGood && this.#token !== undefined) return this.#token;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<string | undefined> {
    const token = (await this.#provide?.()) ?? undefined;
    if (token !== undefined && token !== this.#token) this.#expiresAtMs = null;
    this.#token = token;
    return token;
  }

  /** The service has accepted the token, which expires at this time, in epoch milliseconds. */
  accepted(expiresAtMs: number | null): void {
    this.#expiresAtMs = expiresAtMs;
    this.#isInUse = true;
    this.#renewLater();
  }

  /** The connection has ended, and needs no renewal. */
  rest(): void {
    clearTimeout(this.#timer);
    this.#isInUse = false;
  }

  #renewLater(): void {
    clearTimeout(this.#timer);
    const leftMs = (this.#expiresAtMs ?? 0) - Date.now();
    // There is no expiry, or the local clock is wrong. In that case the notice or the end of the connection causes the
    // renewal.
    if (leftMs <= 0 || !this.#isInUse) return;
    const delayMs = leftMs - Math.min(AHEAD_MS, leftMs / 2);
    this.#timer = setTimeout(() => void this.renew(), Math.min(delayMs, TIMER_MAX_MS));
  }

  async renew(): Promise<void> {
    clearTimeout(this.#timer);
    const before = this.#token;
    try {
      const token = await this.get(true);
      if (token !== undefined && token !== before) {
        this.#events.renewed(token);
        return;
      }
    } catch (cause) {
      const message = "no new token was available; the old one expires";
      this.#events.failed(new TidewireError("unauthenticated", message, {}, { cause }));
    }
    // Many applications keep a token until shortly before its expiry: asks again after half of the time that is left.
    this.#renewLater();
  }
}

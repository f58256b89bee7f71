/** Returns a token, or nothing for an anonymous connection. */
export type TokenProvider = () => string | undefined | null | Promise<string | undefined | null>;

/** A token that expires within this time is not used for a new connection, in milliseconds. */
const MARGIN_MS = 5_000;

/**
 * Asks the application for tokens. Callers at the same time share one request, and the last token is used as long as it
 * is valid.
 */
export class Tokens {
  readonly #provide: TokenProvider | undefined;
  #token: string | undefined;
  #expiresAtMs: number | null = null;
  #asking: Promise<string | undefined> | undefined;

  constructor(provide: TokenProvider | undefined) {
    this.#provide = provide;
  }

  /** The token in use. */
  get current(): string | undefined {
    return this.#token;
  }

  /** The service has reported when the token expires. */
  noteExpiry(expiresAtMs: number | null): void {
    this.#expiresAtMs = expiresAtMs;
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
    if (token !== this.#token) this.#expiresAtMs = null;
    this.#token = token;
    return token;
  }
}

/** Gives a token, or nothing for an anonymous connection. */
export type TokenProvider = () => string | undefined | null | Promise<string | undefined | null>;

/** A token that is about to run out is not worth a connection. */
const MARGIN_MS = 5_000;

/** Asks the application for tokens, once for all who want one at the same time, and only when the last is no good. */
export class Tokens {
  readonly #provide: TokenProvider | undefined;
  #token: string | undefined;
  #expiresAtMs: number | null = null;
  #asking: Promise<string | undefined> | undefined;

  constructor(provide: TokenProvider | undefined) {
    this.#provide = provide;
  }

  /** The one in use. */
  get current(): string | undefined {
    return this.#token;
  }

  /** The service says until when the token is good. */
  told(expiresAtMs: number | null): void {
    this.#expiresAtMs = expiresAtMs;
  }

  forget(): void {
    this.#token = undefined;
  }

  /** @param fresh The last one is not good any more, or not for long. */
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

import { digestOf, isSameDigest, newSecret } from "./digest.ts";

/** A token that logs in once. `tidewire start` prints it where no other credential is configured. */
export class OneTimeToken {
  readonly secret: string;
  #digest: Buffer | null;

  constructor() {
    this.secret = newSecret();
    this.#digest = digestOf(this.secret);
  }

  /** Whether it has not been used. */
  get isUnused(): boolean {
    return this.#digest !== null;
  }

  /** Spends it. @returns Whether this was the token, and its first use. */
  spend(digest: Buffer): boolean {
    if (this.#digest === null || !isSameDigest(digest, this.#digest)) return false;
    this.#digest = null;
    return true;
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import { TidewireError } from "../protocol/errors.ts";
import { ALGORITHMS, type Algorithm } from "./algorithms.ts";
import { fetchJwks } from "./fetch-jwks.ts";
import {
  fromJwk,
  KeyRefused,
  misfitOf,
  signedByOf,
  toVerifyKey,
  type VerifyKey,
  withoutMark,
} from "./keys.ts";
import type { JwtOptions } from "./options.ts";

/** No key of the set fits the token: it may be new, retired, or invented. */
export class KeyUnknown extends Error {
  override readonly name = "KeyUnknown";
}

/** A change of the fetched key set. */
export type KeysEvent =
  /** The set is another one than before. `refused`: why some of its keys are not used. */
  | { readonly type: "changed"; readonly kids: readonly string[]; readonly refused: readonly string[] }
  /** The known keys stay in force. */
  | { readonly type: "failed"; readonly error: unknown }
  /** The known keys could not be fetched again for `jwksStaleMax`: none of them is trusted any more. */
  | { readonly type: "expired" };
/** Called at every change of a fetched key set. @param issuers Those of its entry; none where it names none. */
export type KeysListener = (event: KeysEvent, issuers: readonly string[]) => void;

type Timing = Pick<
  JwtOptions,
  "algorithms" | "jwksMaxAgeMs" | "jwksStaleMaxMs" | "jwksCooldownMs" | "jwksTimeoutMs"
>;

/** A set that has never been fetched is tried again sooner: until then nobody gets in. */
const FIRST_RETRY_MS = 5_000;

/** A login with a known key waits so long for a set that is being fetched; a server that is well answers sooner. */
const PATIENCE_MS = 250;

/** The keys of an issuer that rotates them. `kid` is only ever looked up in a map. */
export class JwksKeys {
  readonly #uri: string;
  readonly #options: Timing;
  readonly #onKeys: (event: KeysEvent) => void;
  #keys: ReadonlyMap<string, readonly VerifyKey[]> | undefined;
  /** `signedByOf` each key and algorithm of the set. */
  #trusted: ReadonlySet<string> = new Set();
  /** The set as it came, to tell whether another is new. */
  #text = "";
  #fetchedAtMs = Number.NEGATIVE_INFINITY;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;
  /** Settles `PATIENCE_MS` after the latest fetch began. */
  #patience: Promise<void> = Promise.resolve();

  constructor(uri: string, options: Timing, onKeys: (event: KeysEvent) => void) {
    this.#uri = uri;
    this.#options = options;
    this.#onKeys = onKeys;
  }

  /**
   * The key that a token's header asks for. Unknown ones cause at most one fetch per cooldown, however many come.
   * @throws {KeyUnknown}
   * @throws {TidewireError} `unavailable` while no set has been had at all.
   */
  async key({ alg, kid }: { alg?: string; kid?: string }, nowMs: number): Promise<VerifyKey> {
    const algorithm = ALGORITHMS.find((name) => name === alg);
    if (algorithm === undefined) throw new KeyUnknown("no such algorithm");
    let found = this.#find(kid, algorithm);
    if (found === undefined && (await this.#refresh(nowMs))) found = this.#find(kid, algorithm);
    if (found !== undefined) return found;
    if (this.#keys !== undefined) throw new KeyUnknown("no key of the set fits");
    throw this.#unavailable();
  }

  #unavailable(): TidewireError {
    const text = "the signing keys cannot be fetched just now";
    return new TidewireError("unavailable", text, {}, { retryAfterMs: this.#cooldownMs });
  }

  /**
   * Fetches the set where it is older than its maximum age, so that a retired key is not trusted longer. While a set is
   * known the promise settles after `PATIENCE_MS` at the latest: a server of keys that is down holds up no login.
   */
  refreshIfStale(nowMs: number): Promise<void> | undefined {
    if (this.#keys === undefined) return this.#refresh(nowMs).then(() => {});
    const ageMs = nowMs - this.#fetchedAtMs;
    if (ageMs < this.#options.jwksMaxAgeMs) return undefined;
    const fetched = this.#refresh(nowMs).then(() => this.#expireIfTooOld(nowMs));
    // Keys that are about to be given up are fetched first.
    return ageMs < this.#options.jwksStaleMaxMs ? Promise.race([fetched, this.#patience]) : fetched;
  }

  /**
   * Keeps a set that is in use young, whether or not a token is being verified: connections depend on it. Before the
   * first token there is nothing to keep.
   */
  async tick(nowMs: number): Promise<void> {
    if (this.#fetchedAtMs === Number.NEGATIVE_INFINITY) return;
    // A process that did not run for long (a suspended machine) tries to fetch the set before it gives the keys up.
    if (this.#triedAtMs > this.#fetchedAtMs) this.#expireIfTooOld(nowMs);
    await this.refreshIfStale(nowMs);
  }

  /** @throws {TidewireError} `unavailable` while there is no set. */
  async ensureKeys(nowMs: number): Promise<void> {
    await this.refreshIfStale(nowMs);
    if (this.#keys === undefined) throw this.#unavailable();
  }

  isTrusted(signedBy: string): boolean {
    return this.#trusted.has(signedBy);
  }

  /** Since the set was fetched last; `null` before the first time. */
  ageMs(nowMs: number): number | null {
    return this.#fetchedAtMs === Number.NEGATIVE_INFINITY ? null : Math.max(0, nowMs - this.#fetchedAtMs);
  }

  #expireIfTooOld(nowMs: number): void {
    if (this.#keys === undefined || nowMs - this.#fetchedAtMs < this.#options.jwksStaleMaxMs) return;
    this.#keys = undefined;
    this.#trusted = new Set();
    this.#text = "";
    this.#onKeys({ type: "expired" });
  }

  #find(kid: string | undefined, algorithm: Algorithm): VerifyKey | undefined {
    if (this.#keys === undefined) return undefined;
    const candidates = kid === undefined ? [...this.#keys.values()].flat() : (this.#keys.get(kid) ?? []);
    const fitting = candidates.filter((key) => key.algorithms.includes(algorithm));
    // Without a kid a token fits only where there is nothing to choose.
    return fitting.length === 1 ? fitting[0] : undefined;
  }

  get #cooldownMs(): number {
    const { jwksCooldownMs } = this.#options;
    return this.#keys === undefined ? Math.min(jwksCooldownMs, FIRST_RETRY_MS) : jwksCooldownMs;
  }

  /** Fetches unless the cooldown forbids it. All who ask meanwhile wait for the same fetch. */
  async #refresh(nowMs: number): Promise<boolean> {
    if (this.#fetching === undefined) {
      if (nowMs - this.#triedAtMs < this.#cooldownMs) return false;
      this.#triedAtMs = nowMs;
      this.#patience = sleep(PATIENCE_MS, undefined, { ref: false });
      this.#fetching = this.#fetch(nowMs).finally(() => {
        this.#fetching = undefined;
      });
    }
    await this.#fetching;
    return true;
  }

  async #fetch(nowMs: number): Promise<void> {
    try {
      const text = await fetchJwks(this.#uri, this.#options.jwksTimeoutMs);
      const { keys, refused } = readKeys(text, this.#options.algorithms);
      this.#fetchedAtMs = nowMs;
      if (text === this.#text) return;
      this.#keys = keys;
      this.#trusted = new Set([...keys.values()].flat().flatMap(signedByAll));
      this.#text = text;
      this.#onKeys({ type: "changed", kids: [...keys.keys()], refused });
    } catch (error) {
      this.#onKeys({ type: "failed", error });
    }
  }
}

const signedByAll = (key: VerifyKey) => key.algorithms.map((algorithm) => signedByOf(algorithm, key));

/** More keys than any issuer has; each costs memory, and time for a token without a kid. */
const MAX_KEYS = 100;

/** The usable keys of a set by `kid`; the others are left out, as RFC 7517, section 5, wants it.
 * @throws {KeyRefused} The text is no key set.
 */
function readKeys(
  text: string,
  algorithms: readonly Algorithm[],
): { keys: Map<string, VerifyKey[]>; refused: string[] } {
  const set: unknown = JSON.parse(withoutMark(text));
  if (typeof set !== "object" || set === null || !("keys" in set) || !Array.isArray(set.keys)) {
    throw new KeyRefused("the answer is no key set: it has no list of keys");
  }
  if (set.keys.length > MAX_KEYS) throw new KeyRefused(`the key set has more than ${MAX_KEYS} keys`);
  const keys = new Map<string, VerifyKey[]>();
  const refused: string[] = [];
  for (const jwk of set.keys as unknown[]) {
    try {
      const key = fromJwk(jwk);
      const { kid = "", alg } = jwk as { kid?: unknown; alg?: unknown }; // fromJwk has made sure of an object
      // A key may say itself which algorithm it serves; then it serves no other (RFC 7517, 4.4).
      const fitting = algorithms.filter(
        (name) => (alg === undefined || alg === name) && misfitOf(key, name) === undefined,
      );
      if (typeof kid !== "string") throw new KeyRefused("a key whose kid is not a string");
      if (fitting.length === 0) throw new KeyRefused("a key that serves none of the algorithms");
      keys.set(kid, [...(keys.get(kid) ?? []), toVerifyKey(key, fitting)]);
    } catch (error) {
      if (!(error instanceof KeyRefused)) throw error;
      refused.push(error.message);
    }
  }
  return { keys, refused };
}

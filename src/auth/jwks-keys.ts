/**
 * Keeps the key set of an issuer that rotates its keys. Three needs conflict: a retired key must lose its trust soon,
 * an unreachable key server must not block logins, and invented `kid`s must not turn into requests to that server. So
 * the set has a maximum age after which it is fetched again, a much longer one after which it is given up, and a
 * cooldown between fetches.
 */
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

/** No key of the set fits the token. The key may be too new for the set, retired, or invented by the client. */
export class KeyUnknown extends Error {
  override readonly name = "KeyUnknown";
}

/** A change of the fetched key set. */
export type KeysEvent =
  /** The set differs from the one before. `refused`: why some of its keys are not used. */
  | { readonly type: "changed"; readonly kids: readonly string[]; readonly refused: readonly string[] }
  /** The fetch failed. The known keys stay in force. */
  | { readonly type: "failed"; readonly error: unknown }
  /** The key set could not be fetched again for `jwksStaleMax`, so none of its keys is trusted any more. */
  | { readonly type: "expired" };
/**
 * Called at every change of a fetched key set.
 * @param issuers The issuers of the entry; empty if it names none.
 */
export type KeysListener = (event: KeysEvent, issuers: readonly string[]) => void;

type Timing = Pick<
  JwtOptions,
  "algorithms" | "jwksMaxAgeMs" | "jwksStaleMaxMs" | "jwksCooldownMs" | "jwksTimeoutMs"
>;

/**
 * A set that has never been fetched is retried sooner than the cooldown, because until then every login fails. In
 * milliseconds.
 */
const FIRST_RETRY_MS = 5_000;

/**
 * How long a login with a known key waits for a set that is being fetched, in milliseconds. A healthy key server
 * answers sooner; with a hanging one the login goes on with the known key.
 */
const PATIENCE_MS = 250;

/**
 * The keys of an issuer that rotates them. `kid` comes from an unverified token, so it is only used as a key of a
 * `Map`.
 */
export class JwksKeys {
  readonly #uri: string;
  readonly #options: Timing;
  readonly #onKeys: (event: KeysEvent) => void;
  #keys: ReadonlyMap<string, readonly VerifyKey[]> | undefined;
  /** `signedByOf` each key and algorithm of the set, for `isTrusted`. */
  #trusted: ReadonlySet<string> = new Set();
  /**
   * The set as it was fetched. An equal text means that the keys are unchanged, so no cached token has to be verified
   * again.
   */
  #text = "";
  /** Time of the last successful fetch; the age of the keys counts from here. */
  #fetchedAtMs = Number.NEGATIVE_INFINITY;
  /** Time of the last attempt, successful or not; the cooldown counts from here. */
  #triedAtMs = Number.NEGATIVE_INFINITY;
  /** The fetch in progress, which all callers share. */
  #fetching: Promise<void> | undefined;
  /** Settles `PATIENCE_MS` after the latest fetch began. */
  #patience: Promise<void> = Promise.resolve();

  constructor(uri: string, options: Timing, onKeys: (event: KeysEvent) => void) {
    this.#uri = uri;
    this.#options = options;
    this.#onKeys = onKeys;
  }

  /**
   * Finds the key that a token's header names. Unknown keys cause at most one fetch per cooldown, however many tokens
   * name them.
   * @throws {KeyUnknown} No key of the set fits.
   * @throws {TidewireError} `unavailable` while no key set has been fetched.
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
   * Fetches the set if it is older than its maximum age, so that a retired key is not trusted longer. While a set is
   * known, the promise settles after `PATIENCE_MS` at the latest: a key server that is down delays no login beyond
   * that.
   */
  refreshIfStale(nowMs: number): Promise<void> | undefined {
    if (this.#keys === undefined) return this.#refresh(nowMs).then(() => {});
    const ageMs = nowMs - this.#fetchedAtMs;
    if (ageMs < this.#options.jwksMaxAgeMs) return undefined;
    const fetched = this.#refresh(nowMs).then(() => this.#expireIfTooOld(nowMs));
    // Close to `jwksStaleMax` the login waits for the fetch: going on without it would mean using keys that are about
    // to be given up.
    return ageMs < this.#options.jwksStaleMaxMs ? Promise.race([fetched, this.#patience]) : fetched;
  }

  /**
   * Refreshes a set that is in use even while no token is verified, because open connections depend on its keys. Before
   * the first token there is no set to refresh.
   */
  async tick(nowMs: number): Promise<void> {
    if (this.#fetchedAtMs === Number.NEGATIVE_INFINITY) return;
    // A process that did not run for a while (a suspended machine) must first try to fetch the set. Giving the keys up
    // at once would close every connection for no reason.
    if (this.#triedAtMs > this.#fetchedAtMs) this.#expireIfTooOld(nowMs);
    await this.refreshIfStale(nowMs);
  }

  /**
   * Makes sure that a key set is there.
   * @throws {TidewireError} `unavailable` while there is none.
   */
  async ensureKeys(nowMs: number): Promise<void> {
    await this.refreshIfStale(nowMs);
    if (this.#keys === undefined) throw this.#unavailable();
  }

  isTrusted(signedBy: string): boolean {
    return this.#trusted.has(signedBy);
  }

  /** Milliseconds since the last successful fetch; `null` before the first one. */
  ageMs(nowMs: number): number | null {
    return this.#fetchedAtMs === Number.NEGATIVE_INFINITY ? null : Math.max(0, nowMs - this.#fetchedAtMs);
  }

  #expireIfTooOld(nowMs: number): void {
    if (this.#keys === undefined || nowMs - this.#fetchedAtMs < this.#options.jwksStaleMaxMs) return;
    // Dropping `#text` as well makes the next fetch count as a change, even if it brings the same keys.
    this.#keys = undefined;
    this.#trusted = new Set();
    this.#text = "";
    this.#onKeys({ type: "expired" });
  }

  #find(kid: string | undefined, algorithm: Algorithm): VerifyKey | undefined {
    if (this.#keys === undefined) return undefined;
    const candidates = kid === undefined ? [...this.#keys.values()].flat() : (this.#keys.get(kid) ?? []);
    const fitting = candidates.filter((key) => key.algorithms.includes(algorithm));
    // A token without a `kid` is accepted only if exactly one key fits; trying several keys in turn would cost a
    // signature check for each.
    return fitting.length === 1 ? fitting[0] : undefined;
  }

  get #cooldownMs(): number {
    const { jwksCooldownMs } = this.#options;
    return this.#keys === undefined ? Math.min(jwksCooldownMs, FIRST_RETRY_MS) : jwksCooldownMs;
  }

  /**
   * Fetches unless the cooldown forbids it. Callers during a fetch wait for the same one.
   * @returns Whether a fetch took place.
   */
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
      // Before the comparison: an unchanged set is fresh again, too.
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

/** More keys than any issuer has. Each one costs memory, and time when a token has no `kid`. */
const MAX_KEYS = 100;

/**
 * The usable keys of a set by `kid`. Other keys are left out, as RFC 7517, section 5, requires.
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
      const { kid = "", alg } = jwk as { kid?: unknown; alg?: unknown }; // fromJwk has checked that it is an object
      // A key with `alg` serves that algorithm and no other (RFC 7517, 4.4).
      const fitting = algorithms.filter(
        (name) => (alg === undefined || alg === name) && misfitOf(key, name) === undefined,
      );
      if (typeof kid !== "string") throw new KeyRefused("a key whose kid is not a string");
      if (fitting.length === 0) throw new KeyRefused("a key that serves none of the algorithms");
      keys.set(kid, [...(keys.get(kid) ?? []), toVerifyKey(key, fitting)]);
    } catch (error) {
      // One unusable key must not make the others unusable: issuers publish encryption keys in the same set.
      if (!(error instanceof KeyRefused)) throw error;
      refused.push(error.message);
    }
  }
  return { keys, refused };
}

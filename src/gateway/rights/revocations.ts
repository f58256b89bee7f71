/**
 * The revoked tokens in memory. Every login and every commit asks whether a token is revoked, so the answer must not
 * need MongoDB; the entries follow the change stream, and while they are incomplete no token is accepted.
 */
import type { Logger } from "pino";
import { isRevokedBy, type RevokedTokens, revocationsToLookFor } from "../../auth/revocations.ts";
import { type Identity, tokenRefusal } from "../../auth/verify-token.ts";
import type { FollowedListener, Uncertainty } from "../../feed/followed-collection.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { TidewireError } from "../../protocol/errors.ts";

/** Reads, at a cluster time, which of the named revocations exist. */
export type ReadRevocations = (
  which: readonly Pick<RevokedTokens, "iss" | "sub" | "jti">[],
  clusterTime: bigint,
) => Promise<readonly RevokedTokens[]>;

/** A question that waits for its turn. */
interface Asked {
  readonly identity: Identity;
  readonly clusterTime: bigint;
  readonly answer: (mayRead: boolean) => void;
}

/** How many questions one read answers. */
const ASKED_MAX = 200;

const TEXTS: Readonly<Record<Uncertainty, string>> = {
  unread: "the revoked tokens are not known until they have been read from MongoDB",
  "too-large":
    "there are more revocations than auth.revocationBytes holds: no token is accepted. Raise it and restart, or undo some (tidewire revoke --list)",
  "not-understood":
    "a revocation is not valid: no token is accepted. Update this node, or remove the document that the log names",
};

const RETRY_AFTER_MS = 1_000;

/**
 * The revoked tokens, as of the point to which the change stream was read. Unless all of them are known, no token is
 * accepted.
 */
export class Revocations implements FollowedListener<RevokedTokens> {
  readonly #read: ReadRevocations;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #listeners = new Set<() => void>();
  readonly #bySub = new Map<string, Set<RevokedTokens>>();
  #state: "known" | Uncertainty = "unread";
  /** Some revocation cannot be enforced, so it is unknown which tokens it covers. */
  #isUnenforceable = false;
  #asked: Asked[] = [];
  #isAsking = false;

  constructor(read: ReadRevocations, { log, metrics }: { log: Logger; metrics: Metrics }) {
    this.#read = read;
    this.#log = log;
    this.#metrics = metrics;
  }

  /** Why no token is accepted; `null` if tokens are. */
  get uncertainty(): Uncertainty | null {
    return this.#state === "known" ? null : this.#state;
  }

  /** Calls `listener`, in the same turn, whenever a token may be refused that was not refused before. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Why a token must not connect; `null` if it may. */
  refusalOf(identity: Identity, nowMs = Date.now()): TidewireError | null {
    if (this.#isRevoked(identity, nowMs)) return tokenRefusal("revoked");
    if (this.#state === "known") return null;
    const text = "it is unknown just now which tokens are revoked: try again later";
    return new TidewireError("unavailable", text, {}, { retryAfterMs: RETRY_AFTER_MS });
  }

  /**
   * Why a connection must end; `null` if it may stay. Connections from before stay as long as nothing contradicts it.
   */
  endOf(identity: Identity, nowMs = Date.now()): TidewireError | null {
    const refusal = this.refusalOf(identity, nowMs);
    return refusal?.code === "unavailable" && !this.#isUnenforceable ? null : refusal;
  }

  /**
   * Whether a token was not revoked at a cluster time that the stream has not reached yet. One small read answers for
   * many tokens.
   * @returns `false` also if that is unknown. Then the stream decides.
   */
  mayRead(identity: Identity, clusterTime: bigint): Promise<boolean> {
    if (identity.sub === null) return Promise.resolve(true);
    return new Promise((answer) => {
      this.#asked.push({ identity, clusterTime, answer });
      if (this.#isAsking) return;
      this.#askAll().catch((err: unknown) =>
        this.#log.error({ err }, "the revoked tokens could not be requested"),
      );
    });
  }

  entered(entry: RevokedTokens): void {
    // No token is accepted until all entries have been read again. Entries beyond the limit must not accumulate
    // meanwhile.
    if (this.#isUnenforceable) return;
    const known = this.#bySub.get(entry.sub) ?? new Set();
    known.add(entry);
    this.#bySub.set(entry.sub, known);
    this.#changed();
  }

  left(entry: RevokedTokens): void {
    const known = this.#bySub.get(entry.sub);
    known?.delete(entry);
    if (known?.size === 0) this.#bySub.delete(entry.sub);
  }

  reloaded(entries: readonly RevokedTokens[]): void {
    this.#bySub.clear();
    for (const entry of entries) {
      const known = this.#bySub.get(entry.sub);
      if (known === undefined) this.#bySub.set(entry.sub, new Set([entry]));
      else known.add(entry);
    }
    if (this.#state !== "known")
      this.#log.info({ revocations: entries.length }, "the revoked tokens are loaded");
    this.#state = "known";
    this.#isUnenforceable = false;
    this.#changed();
  }

  uncertain(why: Uncertainty): void {
    this.#state = why;
    if (why === "unread") this.#log.info(TEXTS[why]);
    else this.#log.error(TEXTS[why]);
  }

  unenforceable(): void {
    this.#isUnenforceable = true;
    this.#bySub.clear();
    this.#changed();
  }

  measured(entries: number, bytes: number): void {
    this.#metrics.revocations.set(entries);
    this.#metrics.revocationBytes.set(bytes);
  }

  #isRevoked(identity: Identity, nowMs: number): boolean {
    if (identity.sub === null) return false;
    for (const entry of this.#bySub.get(identity.sub) ?? [])
      if (isRevokedBy(identity, entry, nowMs)) return true;
    return false;
  }

  async #askAll(): Promise<void> {
    this.#isAsking = true;
    try {
      // Questions of the same turn share the first read.
      await null;
      for (let asked = this.#take(); asked.length > 0; asked = this.#take()) {
        const isRevoked = await this.#readFor(asked);
        for (const { identity, answer } of asked) answer(!isRevoked(identity));
      }
    } finally {
      this.#isAsking = false;
    }
  }

  #take(): Asked[] {
    return this.#asked.splice(0, ASKED_MAX);
  }

  /** Which of the tokens were revoked at the latest of the cluster times; all of them if that cannot be read. */
  async #readFor(asked: readonly Asked[]): Promise<(identity: Identity) => boolean> {
    const latest = asked.reduce((time, { clusterTime }) => (clusterTime > time ? clusterTime : time), 0n);
    try {
      const which = asked.flatMap(({ identity }) => revocationsToLookFor(identity));
      const revoked = await this.#read(which, latest);
      const nowMs = Date.now();
      const found = new Set(
        asked.flatMap(({ identity }) =>
          revoked.some((entry) => isRevokedBy(identity, entry, nowMs)) ? [identity] : [],
        ),
      );
      return (identity) => found.has(identity);
    } catch (err) {
      this.#log.debug(
        { err },
        "could not read whether tokens are revoked; the change stream will deliver the revocations",
      );
      return () => true;
    }
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

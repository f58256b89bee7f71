/**
 * The shared tail of one node: decides whether the node reads it or a change stream of its own, and takes part in
 * filling it. Redis is a cache of the oplog: whenever it cannot be used, the node reads MongoDB from its own position.
 */
import type { Logger } from "pino";
import { guarded, runGuarded } from "../../metrics/guard.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { SparseLog } from "../../metrics/sparse-log.ts";
import type { RawStream } from "../change-stream.ts";
import type { TailOptions } from "../options.ts";
import { RedisConnection, RedisError, type RedisPackage } from "./redis-connection.ts";
import { TailLeader, type TailLeaderParts, type TailScope } from "./tail-leader.ts";
import { TailLog } from "./tail-log.ts";
import { SILENCE_MS, type TailLoss, TailLostError, type TailPatience, TailStream } from "./tail-stream.ts";

/** The parts that a shared tail works with. */
export interface SharedTailParts extends Omit<TailLeaderParts, "openLog" | "key" | "bytes"> {
  readonly redis: RedisPackage;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** How often a node looks at a tail that it does not read, in milliseconds. */
const LOOK_MS = 1_000;
/** How much a node depends on the tail: whether it can read MongoDB instead. */
export type TailNeed = "alternative" | "only-source";
/**
 * How long the tail may take to reach the position of a node that returns to it, and how old an entry may be that arrives, in
 * milliseconds. A node that reads MongoDB waits without changes meanwhile. A node that cannot read MongoDB loses nothing.
 */
const PATIENCE: Readonly<Record<TailNeed, TailPatience>> = {
  alternative: { joinMs: 250, slowMs: 2_000 },
  "only-source": { joinMs: 5_000, slowMs: 30_000 },
};
/** Pauses between attempts to return, which double while attempts fail or the node soon leaves again. In milliseconds. */
const RETURN_MS = { first: 1_000, most: 30_000 };
/** A tail that is silent for less than this has only just begun, or has another leader soon. Not logged. In milliseconds. */
const PASSING_MS = 10_000;

/** A node's way to the shared tail. */
export class SharedTail {
  readonly #options: TailOptions;
  readonly #parts: SharedTailParts;
  readonly #timer: NodeJS.Timeout;
  #scope: TailScope | undefined;
  #leading: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
  /** The connection for looks. A stream takes it over. */
  #look: TailLog | undefined;
  #isLooking = false;
  #isAlive = false;
  #isReading = false;
  #failures = 0;
  #returnAtMs = 0;
  #joinedAtMs = 0;
  /** Since when the node does not read the tail. */
  #unusedSinceMs = performance.now();
  readonly #failureLog = new SparseLog();
  #stopped = false;

  constructor(options: TailOptions, parts: SharedTailParts) {
    this.#options = options;
    this.#parts = parts;
    parts.metrics.tailConfigured.set(1);
    const look = guarded(parts, "source.tail", () => this.#lookAtTail());
    this.#timer = setInterval(look, LOOK_MS).unref();
  }

  /** Uses the tail of this pipeline from here on. */
  enter(scope: TailScope): void {
    const { epoch, fingerprint } = this.#scope ?? {};
    if (epoch === scope.epoch && fingerprint === scope.fingerprint) return;
    this.#scope = scope;
    this.#isAlive = false;
    this.#look?.close();
    this.#look = undefined;
    this.#leading?.abort.abort();
    this.#lead(scope);
  }

  /** Whether an attempt to read the tail is due. */
  get isInviting(): boolean {
    return !this.#isReading && this.#isAlive && performance.now() >= this.#returnAtMs;
  }

  /**
   * Reads the tail from cluster time `from` on, inclusive.
   * @param need A node that cannot read MongoDB does not wait for the end of the pause between attempts.
   * @returns `null` if the node has to read MongoDB itself for now.
   */
  async open(from: bigint, need: TailNeed): Promise<RawStream | null> {
    if (need === "only-source") this.#returnAtMs = 0;
    if (!this.#isAlive && performance.now() >= this.#returnAtMs) await this.#lookAtTail();
    if (!this.isInviting || this.#scope === undefined) return null;
    const { serverNowMs, metrics } = this.#parts;
    try {
      const log = await this.#openLog();
      const onLag = (lagMs: number) => metrics.tailLag.set(lagMs / 1_000);
      const stream = await TailStream.open(from, PATIENCE[need], { log, serverNowMs, onLag }).catch(
        (error: unknown) => {
          log.close();
          throw error;
        },
      );
      this.#isReading = true;
      this.#joinedAtMs = performance.now();
      return stream;
    } catch (error) {
      this.#noteFailure(error);
      return null;
    }
  }

  /** The node has to leave the tail. */
  left(reason: TailLoss): void {
    this.closed();
    this.#isAlive = false;
    this.#parts.log.warn({ reason }, "the shared tail is left: reading MongoDB from the same position");
  }

  /**
   * The node has closed its stream, if it had one. It waits before it returns, because the tail may be the cause.
   * @param reason If the tail is not the cause.
   */
  closed(reason?: "collections"): void {
    if (!this.#isReading) return;
    if (reason !== undefined)
      this.#parts.log.info({ reason }, "the shared tail is left for the one of the changed collections");
    this.#isReading = false;
    this.#unusedSinceMs = performance.now();
    this.#parts.metrics.tailLag.set(0);
    if (performance.now() - this.#joinedAtMs > 2 * RETURN_MS.most) this.#failures = 0;
    this.#waitToReturn();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#look?.close();
    this.#leading?.abort.abort();
    await this.#leading?.done;
  }

  #lead(scope: TailScope): void {
    const abort = new AbortController();
    const { key, bytes } = this.#options.redis;
    const openLog = () => this.#openLog(scope);
    const leader = new TailLeader(scope, { ...this.#parts, key, bytes, openLog });
    const before = this.#leading?.done;
    let end = () => {};
    const done = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#leading = { abort, done };
    runGuarded(this.#parts, "source.tail", async () => {
      await before;
      await leader.run(abort.signal).finally(end);
    });
  }

  async #openLog(scope: TailScope | undefined = this.#scope): Promise<TailLog> {
    const { url, key } = this.#options.redis;
    const connection = await RedisConnection.open(this.#parts.redis, url);
    return new TailLog(connection, `${key}:${scope?.epoch}:${scope?.fingerprint}`);
  }

  /** Finds out whether a leader fills the tail, before the node depends on it. */
  async #lookAtTail(): Promise<void> {
    const scope = this.#scope;
    if (this.#isReading || this.#isLooking || this.#stopped || scope === undefined) return;
    this.#isLooking = true;
    try {
      if (this.#look?.isOpen !== true) {
        const opened = await this.#openLog(scope);
        if (scope !== this.#scope) return opened.close();
        this.#look = opened;
      }
      const askedAtMs = this.#parts.serverNowMs();
      const last = await this.#look.last();
      const readAtMs = last?.entry?.readAtMs ?? 0;
      const isCurrent = askedAtMs - readAtMs < SILENCE_MS;
      if (scope !== this.#scope) return;
      this.#isAlive = isCurrent;
      if (!isCurrent) this.#noteUnusable("silent");
    } catch (error) {
      if (!(error instanceof RedisError)) throw error;
      this.#isAlive = false;
      this.#noteUnusable(error.problem, error);
    } finally {
      this.#isLooking = false;
      if (this.#stopped) this.#look?.close();
    }
  }

  #noteFailure(error: unknown): void {
    if (!(error instanceof TailLostError) && !(error instanceof RedisError)) throw error;
    const reason = error instanceof TailLostError ? error.reason : error.problem;
    this.#noteUnusable(reason, error instanceof TailLostError ? error.cause : error);
    this.#waitToReturn();
  }

  /** @param error An error of Redis; its text is safe to log. */
  #noteUnusable(reason: TailLoss, error?: unknown): void {
    const { metrics, log } = this.#parts;
    metrics.tailFailedJoins.inc({ reason });
    const nowMs = performance.now();
    if (reason === "silent" && nowMs - this.#unusedSinceMs < PASSING_MS) return;
    const unusedSeconds = Math.round((nowMs - this.#unusedSinceMs) / 1_000);
    const detail = error instanceof Error ? { redis: error.message } : {};
    this.#failureLog.write(nowMs, (more) =>
      log.warn(
        { reason, ...detail, unusedSeconds, ...more },
        "the shared tail cannot be read: this node reads MongoDB meanwhile",
      ),
    );
  }

  #waitToReturn(): void {
    const waitMs = Math.min(RETURN_MS.most, RETURN_MS.first * 2 ** this.#failures++);
    this.#returnAtMs = performance.now() + waitMs * (0.5 + Math.random() / 2);
  }
}

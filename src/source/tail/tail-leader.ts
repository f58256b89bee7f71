/**
 * Fills the shared tail: of all processes that read the same pipeline, the one that holds the lease reads MongoDB and
 * appends what it reads. The lease only avoids needless work. A second leader would append the same ranges, and readers
 * would skip them.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MongoServerError } from "mongodb";
import type { Logger } from "pino";
import { noteFault } from "../../metrics/guard.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { parseEvent } from "../change-event.ts";
import { type ChangeStreamOptions, RawChangeStream, type StreamStart } from "../change-stream.ts";
import { secondsOf } from "../cluster-time.ts";
import type { Deployment } from "../deployment.ts";
import { Lease, type LeaseParts, type LeaseTerm } from "../lease.ts";
import { isMongoFailure, type MongoAccess } from "../mongo.ts";
import { type CommitBatch, readCommits } from "../read-commits.ts";
import { ReplicationWatch } from "../replication-watch.ts";
import { classifyStreamError, downReasonOf, StaleMemberError, StreamStalledError } from "../stream-errors.ts";
import { RedisError } from "./redis-connection.ts";
import { StaleAppendError, type TailLog } from "./tail-log.ts";
import { BEAT_MS } from "./tail-stream.ts";
import { TailWriter } from "./tail-writer.ts";

/** The pipeline whose events a tail contains, in one epoch. */
export interface TailScope {
  readonly epoch: string;
  readonly fingerprint: string;
  readonly watched: ReadonlySet<string>;
  readonly stream: ChangeStreamOptions;
}

/** The parts that a leader works with. */
export interface TailLeaderParts extends LeaseParts {
  readonly deployment: Deployment;
  /** The client for its change stream. */
  readonly access: () => Promise<MongoAccess>;
  /** The client has failed, and is to be replaced. */
  readonly onClientFailed: (reason: string, error: unknown) => void;
  /** See `ReplicationWatch`. */
  readonly staleMs?: number | undefined;
  /** Connects to Redis. */
  readonly openLog: () => Promise<TailLog>;
  /** The position of this process. */
  readonly through: () => bigint;
  readonly serverNowMs: () => number;
  /** See `mongodb.tail.redis.key`. */
  readonly key: string;
  readonly bytes: number;
  readonly holder: string;
  readonly log: Logger;
  readonly metrics: Metrics;
}

const LEASE_TTL_MS = 5_000;
/** After a failure of MongoDB the leader tries again, in milliseconds. */
const RETRY_MS = 250;
/** A leader that could read nothing from MongoDB for this long gives the lease up, in milliseconds. */
const FAILING_MS = 10_000;
/**
 * Pauses before a process that has lost or given up the lease competes again, which double. After a failure of MongoDB the first
 * one is longer than the pause between two looks of the other candidates, so that one of them takes the lease. In milliseconds.
 */
const STAY_OUT_MS = { first: 1_000, firstAfterMongo: 8_000, most: 30_000 };
/**
 * A new leader continues a tail that ends up to this long before its own position, in seconds. Readers that are still in it
 * need not leave. A longer stretch would be read for nobody.
 */
const CONTINUED_SECONDS = 30;

/** This process cannot read MongoDB, although it holds the lease. Another process may have a connection that works. */
class LeaderFailedError extends Error {
  override readonly name = "LeaderFailedError";
}

/** A candidate for filling the tail of one pipeline. */
export class TailLeader {
  readonly #scope: TailScope;
  readonly #parts: TailLeaderParts;
  /** When MongoDB has last answered a read of the stream, or when the term began. */
  #answeredAtMs = 0;

  constructor(scope: TailScope, parts: TailLeaderParts) {
    this.#scope = scope;
    this.#parts = parts;
  }

  /** Leads whenever this process holds the lease, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { epoch, fingerprint } = this.#scope;
    const { key, holder, log } = this.#parts;
    // Nodes with another key have a tail of their own, which needs a leader, too. Nodes of one key have one Redis.
    const lease = new Lease(
      { name: `tail.${key}.${epoch}.${fingerprint}`, holder, ttlMs: LEASE_TTL_MS },
      this.#parts,
    );
    let failures = 0;
    while (!signal.aborted) {
      const term = await lease.compete(signal);
      if (term === null) return;
      const startedAtMs = performance.now();
      let firstMs = STAY_OUT_MS.first;
      try {
        await this.#lead(term, signal);
      } catch (error) {
        if (!isExpected(error)) noteFault(this.#parts, "source.tail", error);
        else
          log.warn({ err: error.cause, reason: error.message }, "the shared tail cannot be filled from here");
        if (error instanceof LeaderFailedError) firstMs = STAY_OUT_MS.firstAfterMongo;
      } finally {
        await term.release();
      }
      if (performance.now() - startedAtMs > 2 * STAY_OUT_MS.most) failures = 0;
      const restMs = Math.min(STAY_OUT_MS.most, firstMs * 2 ** failures++);
      await pause(restMs * (0.5 + Math.random() / 2), signal);
    }
  }

  async #lead(term: LeaseTerm, signal: AbortSignal): Promise<void> {
    const { log, metrics, onClientFailed, openLog } = this.#parts;
    const tail = await openLog();
    const close = () => tail.close();
    const ends = AbortSignal.any([signal, term.signal]);
    ends.addEventListener("abort", close, { once: true });
    metrics.tailLeader.set(1);
    log.info({ fence: String(term.fence) }, "this node fills the shared tail");
    this.#answeredAtMs = performance.now();
    try {
      while (!ends.aborted) {
        try {
          await this.#fill(tail, ends);
        } catch (error) {
          if (ends.aborted) return;
          const isStale = error instanceof StaleMemberError;
          if (!isMongoFailure(error) && !isStale && !(error instanceof StreamStalledError)) throw error;
          if (!(error instanceof MongoServerError))
            onClientFailed("the change stream of the shared tail failed", error);
          if (isStale) throw toLeaderFailure(error);
          // The lease is renewed by another connection, so it would never end by itself.
          if (performance.now() - this.#answeredAtMs > FAILING_MS) throw toLeaderFailure(error);
          log.debug({ err: error }, "the shared tail is not filled; trying again");
          await pause(RETRY_MS, ends);
        }
      }
    } finally {
      metrics.tailLeader.set(0);
      metrics.tailBytes.set(0);
      ends.removeEventListener("abort", close);
      tail.close();
    }
  }

  /** Reads MongoDB and appends to the tail until one of them fails. */
  async #fill(tail: TailLog, ends: AbortSignal): Promise<void> {
    const { bytes, serverNowMs, metrics } = this.#parts;
    const { writer, reached } = await TailWriter.open({ log: tail, bytes, serverNowMs, metrics });
    const through = await this.#startOf(writer, reached);
    let start: StreamStart = { atTime: through + 1n };
    let appended = through;
    try {
      while (!ends.aborted) {
        const end = await this.#copy(start, appended, writer, ends);
        if (end === null) return await pause(RETRY_MS, ends);
        start = { startAfter: end.invalidated };
        appended = end.appended;
      }
    } catch (error) {
      // The oplog no longer contains the start. Readers find a gap, and go on from their own positions.
      if (classifyStreamError(error) === "position-lost") await writer.clear();
      throw error;
    }
  }

  /** @returns The cluster time up to which the tail is, or counts as, complete. */
  async #startOf(writer: TailWriter, reached: bigint | null): Promise<bigint> {
    const { deployment, through } = this.#parts;
    const own = through();
    const now = await deployment.now(reached ?? own);
    const { epoch } = await deployment.epoch();
    if (epoch.id !== this.#scope.epoch) throw new StaleAppendError("the deployment has another epoch");
    if (reached !== null && reached > now) {
      // Left by a deployment that was restored since.
      await writer.clear();
      return own - 1n;
    }
    if (reached !== null && secondsOf(reached) >= secondsOf(own) - CONTINUED_SECONDS) return reached;
    return own - 1n;
  }

  /** Copies one change stream. @returns Where the next one begins, if an invalidate event has ended this one. */
  async #copy(
    start: StreamStart,
    appended: bigint,
    writer: TailWriter,
    ends: AbortSignal,
  ): Promise<{ invalidated: Uint8Array; appended: bigint } | null> {
    const { watched, stream: options } = this.#scope;
    const maxAwaitMs = Math.min(options.maxAwaitMs, BEAT_MS);
    const source = await RawChangeStream.open(await this.#parts.access(), start, { ...options, maxAwaitMs });
    const close = () => source.close();
    ends.addEventListener("abort", close, { once: true });
    const waiting: Buffer[] = [];
    const replication = new ReplicationWatch(
      (least) => this.#parts.deployment.now(least),
      this.#parts.staleMs,
    );
    const next = async (awaitMs?: number) => {
      const batch = await replication.next(source, awaitMs);
      for (const event of batch.events) waiting.push(event);
      return batch;
    };
    let through = appended;
    let appendedAtMs = 0;
    try {
      for await (const batch of readCommits({ next }, watched)) {
        if (ends.aborted) return null;
        this.#answeredAtMs = performance.now();
        await replication.check(batch.through);
        const to = batch.through > through ? batch.through : through;
        // Without this, each answer that only proves the end of a transaction would be an entry.
        if (to > through || performance.now() - appendedAtMs > BEAT_MS / 2) {
          await writer.append({
            from: through,
            to,
            events: takeUpTo(waiting, to),
            resumeToken: tokenOf(batch),
          });
          appendedAtMs = performance.now();
          through = to;
        }
        if (batch.invalidated !== undefined) return { invalidated: batch.invalidated, appended: through };
      }
      return null;
    } finally {
      ends.removeEventListener("abort", close);
      source.close();
    }
  }
}

/** Readers do not end where the leader's stream does, and cannot resume from such an event. */
const tokenOf = ({ invalidated, resumeToken }: CommitBatch) =>
  invalidated === undefined ? resumeToken : undefined;

/** Removes the events up to a cluster time from the front, and returns them without invalidate events. */
function takeUpTo(waiting: Buffer[], to: bigint): Buffer[] {
  let count = 0;
  const taken: Buffer[] = [];
  for (const raw of waiting) {
    const { clusterTime, operation } = parseEvent(raw);
    if (clusterTime > to) break;
    count++;
    if (operation !== "invalidate") taken.push(raw);
  }
  waiting.splice(0, count);
  return taken;
}

const isExpected = (error: unknown): error is Error =>
  error instanceof RedisError || error instanceof StaleAppendError || error instanceof LeaderFailedError;

const toLeaderFailure = (cause: Error) =>
  new LeaderFailedError(`this node cannot read MongoDB's changes: ${downReasonOf(cause)}`, { cause });

const pause = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }).catch(() => {}); // rejects when the signal aborts

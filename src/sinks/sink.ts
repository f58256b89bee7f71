/** One sink on this node: it competes for the lease of the sink, and works while it holds it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { GatewayContext } from "../gateway/context.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { type GuardParts, guarded, noteFault } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { Lease, type LeaseParts, type LeaseTerm } from "../source/lease.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { SinkOptions } from "./options.ts";
import type { SentRowStore } from "./sent-row-store.ts";
import { SentRows } from "./sent-rows.ts";
import { isInterrupted, type SinkTurn } from "./sink-documents.ts";
import { followSink } from "./sink-follower.ts";
import { SinkLedger } from "./sink-ledger.ts";
import { SinkRun } from "./sink-run.ts";
import type { ResetReason, RunEnd } from "./sink-run-parts.ts";
import type { SinkStore } from "./sink-store.ts";
import type { Target } from "./target.ts";
import { makeTarget } from "./targets/make-target.ts";

/** The parts that sinks work with. */
export interface SinkParts extends GuardParts {
  /** The name of the node, for admins. */
  readonly node: string;
  /** A name of this process that no other has. */
  readonly holder: string;
  readonly store: SinkStore;
  readonly rows: SentRowStore;
  readonly leases: LeaseParts["store"];
  readonly answer: LeaseParts["answer"];
  readonly gateway: Pick<Gateway, "openInside">;
  readonly context: GatewayContext;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Another node takes a sink over so long after its holder has stopped without a word, and a little more. */
const LEASE_MS = 5_000;
/** How often the holder looks at the decisions of admins, in milliseconds. */
const TICK_MS = 1_000;
/** How long a sink waits after an unexpected error, in milliseconds. */
const AFTER_FAULT_MS = 5_000;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 5_000;
/** Parked messages that are sent again at a time. */
const REPLAY_MAX = 100;

/** A sink of the configuration. */
export class Sink {
  readonly #name: string;
  readonly #options: SinkOptions;
  readonly #parts: SinkParts;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(name: string, options: SinkOptions, parts: SinkParts) {
    this.#name = name;
    // Each start sends all rows: a successor could not tell which state of a row the receiver has.
    this.#options = options.aggregate === undefined ? options : { ...options, snapshot: true };
    this.#parts = { ...parts, log: parts.log.child({ sink: name }) };
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Hands the sink over to another node. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { leases, answer, log, metrics, holder } = this.#parts;
    const lease = new Lease(
      { name: `sink ${this.#name}`, holder, ttlMs: LEASE_MS },
      { store: leases, answer, log, metrics },
    );
    const { signal } = this.#stop;
    metrics.sinkLeading.set({ sink: this.#name }, 0);
    while (!signal.aborted) {
      const term = await lease.compete(signal);
      if (term === null) return;
      metrics.sinkLeading.set({ sink: this.#name }, 1);
      try {
        await this.#hold(term);
      } catch (error) {
        if (!signal.aborted && !term.signal.aborted) {
          noteFault(this.#parts, "sinks.hold", error);
          await pause(AFTER_FAULT_MS, signal);
        }
      } finally {
        metrics.sinkLeading.set({ sink: this.#name }, 0);
        await term.release();
      }
    }
  }

  /** Works until the term or this node ends. */
  async #hold(term: LeaseTerm): Promise<void> {
    const { store, node, log, metrics } = this.#parts;
    const signal = AbortSignal.any([this.#stop.signal, term.signal]);
    const ask: Ask = (question) => untilAnswered(() => this.#parts.answer(question), signal);
    const target = await makeTarget(this.#options.to, { sink: this.#name, log, metrics });
    try {
      while (!signal.aborted) {
        // Each run begins with what is saved, because the one before may have ended between two writes.
        const begun = await ask(() => store.begin(this.#name, term.fence, node));
        if (begun === null) return;
        const { turn } = begun;
        const { isPaused, disabled } = begun.control;
        const ledger = new SinkLedger(this.#name, begun.state, metrics);
        if (ledger.isEmptying) await this.#emptySpool(turn, ledger, ask);
        if (disabled !== null) {
          await pause(TICK_MS, signal);
          continue;
        }
        if (isInterrupted(begun.state)) await this.#noteInterrupted(turn, ledger, ask);
        log.info({ fence: String(term.fence) }, "this node runs the sink");
        const holding = { term, turn, ledger, target, ask, isPaused, signal };
        const end = await this.#runOnce(holding);
        if (end === null || signal.aborted || !(await this.#goesOn(end, holding))) return;
      }
    } finally {
      await target.close();
    }
  }

  /** @returns Why the run has ended; `null` because the term or this node ends. */
  async #runOnce({ term, turn, ledger, target, ask, isPaused, signal }: Holding): Promise<RunEnd | null> {
    const { store, log, metrics, gateway, context } = this.#parts;
    let followTrouble: string | null = null;
    const over = new AbortController();
    const ends: RunEnd[] = [];
    const onEnd = (why: RunEnd) => {
      ends.push(why);
      over.abort();
    };
    const failed = (error: unknown) => onEnd({ kind: "failed", error });
    const rows = await this.#takeOverRows(turn, ask, failed);
    const parts = { name: this.#name, options: this.#options, turn, store, target, ledger, rows };
    const isHeld = () => term.isHeld;
    const run = new SinkRun({ ...parts, isHeld, answer: ask, onEnd, log, metrics }, isPaused);
    await run.start();
    const until = AbortSignal.any([signal, over.signal]);
    const onReset = (reason: ResetReason) => {
      // The messages so far were decided under rights that have ended. After any other reset nobody knows which rights a
      // sink with claims has had in between.
      const haveRightsEnded = reason === "rights-changed" || this.#options.as !== undefined;
      if (haveRightsEnded) ledger.noteRights();
      if (haveRightsEnded && run.hasWaiting) {
        run.abandon();
        onEnd({ kind: "reset", reason });
        return;
      }
      this.#noteReset(ledger, reason);
      run.noteReset();
    };
    const onTrouble = (trouble: string | null) => {
      if (trouble !== null && trouble !== ledger.trouble)
        log.warn({ trouble }, "the sink cannot follow its live query");
      // The trouble of the target is another one.
      if (trouble !== null || ledger.trouble === followTrouble) ledger.noteTrouble(trouble);
      followTrouble = trouble;
      run.touch();
    };
    const follower = {
      name: this.#name,
      options: this.#options,
      gateway,
      context,
      run,
      rows,
      onReset,
      onTrouble,
      log,
    };
    let isTicking = false;
    const tick = guarded(this.#parts, "sinks.tick", async () => {
      if (isTicking) return;
      isTicking = true;
      await this.#tick(run, ledger, until, onEnd).finally(() => {
        isTicking = false;
      });
    });
    const ticker = setInterval(tick, TICK_MS).unref();
    await followSink(follower, until).catch(failed);
    clearInterval(ticker);
    // A former holder must not send anything more. This node still holds the lease when it stops by itself.
    if (ends.length === 0 && !term.signal.aborted) {
      await run.stop();
      await rows?.saved();
    }
    run.abandon();
    ledger.retire();
    return ends[0] ?? null;
  }

  async #takeOverRows(
    { run }: SinkTurn,
    answer: Ask,
    failed: (error: unknown) => void,
  ): Promise<SentRows | null> {
    if (this.#options.aggregate === undefined) return null;
    return SentRows.takeOver({ name: this.#name, run, rows: this.#parts.rows, answer, failed });
  }

  /** Reacts to the end of a run. @returns Whether there is to be another one. */
  async #goesOn(end: RunEnd, { turn, ledger, ask, signal }: Holding): Promise<boolean> {
    const { store, log } = this.#parts;
    switch (end.kind) {
      case "superseded":
        return false;
      case "gone": {
        const { reason } = end;
        log.error(
          { reason },
          "the target wants no more messages; the sink is disabled until tidewire sinks resume",
        );
        const disabled = { at: new Date(), reason };
        await ask(() => store.disable(this.#name, turn, disabled));
        return true;
      }
      case "reset":
        this.#noteReset(ledger, end.reason);
        ledger.dropSpool();
        await this.#emptySpool(turn, ledger, ask);
        return true;
      case "failed":
        noteFault(this.#parts, "sinks.run", end.error);
        await pause(AFTER_FAULT_MS, signal);
        return true;
    }
  }

  #noteReset(ledger: SinkLedger, reason: ResetReason): void {
    const { log, metrics } = this.#parts;
    const next = this.#options.snapshot
      ? "begins again with the present result"
      : "goes on with the present changes";
    log.error({ reason }, `changes are missing at the target: the sink was reset, and ${next}`);
    metrics.sinkResets.inc({ sink: this.#name, reason });
    ledger.noteReset({ at: new Date(), reason });
  }

  /** The run before has ended within a snapshot. */
  async #noteInterrupted(turn: SinkTurn, ledger: SinkLedger, ask: Ask): Promise<void> {
    const { aggregate, as } = this.#options;
    // Each start of an aggregate sends all rows.
    if (aggregate !== undefined) return;
    this.#noteReset(ledger, "snapshot-interrupted");
    if (as === undefined) return;
    // Without a position, nothing shows whether the documents that wait were read under the rights of now.
    ledger.noteRights();
    ledger.dropSpool();
    await this.#emptySpool(turn, ledger, ask);
  }

  /** Removes the messages of a spool that was given up. */
  async #emptySpool(turn: SinkTurn, ledger: SinkLedger, ask: Ask): Promise<void> {
    const { store } = this.#parts;
    const nothing = { spool: [], delivered: [], park: [], unpark: [] };
    const save = () => {
      const state = ledger.state(null, ledger.saved.lastSeq);
      return ask(() => store.save(this.#name, turn, { state, ...nothing }));
    };
    // Before the first message is removed, because a position would promise that they are in the spool.
    if (!(await save())) return;
    const { lastSeq } = ledger.saved;
    while (await ask(() => store.emptySome(this.#name, lastSeq)));
    ledger.noteEmptied();
    await save();
  }

  /** Checks the decisions of admins, and the age of the waiting messages. */
  async #tick(
    run: SinkRun,
    ledger: SinkLedger,
    until: AbortSignal,
    onEnd: (end: RunEnd) => void,
  ): Promise<void> {
    const { store, answer } = this.#parts;
    const { spool } = this.#options;
    try {
      const control = await answer(() => store.control(this.#name));
      if (until.aborted || control === null) return;
      if (control.disabled !== null) {
        onEnd({ kind: "gone", reason: control.disabled.reason });
        return;
      }
      run.pause(control.isPaused);
      const nowMs = Date.now();
      const spooledMs =
        ledger.spooledMessages > 0 ? await answer(() => store.oldestSpooledMs(this.#name)) : null;
      const times = [spooledMs, run.oldestMs].filter((time) => time !== null);
      const before = ledger.oldestMs;
      ledger.noteOldest(times.length === 0 ? null : Math.min(...times), nowMs);
      if (ledger.oldestMs !== before) run.touch();
      // Messages of a lane are parked one by one instead, so that a document that is refused takes no others with it.
      const isOld = spooledMs !== null && nowMs - spooledMs > spool.ageMs;
      const queuedMs = isOld ? await answer(() => store.firstQueuedMs(this.#name)) : null;
      if (queuedMs !== null && nowMs - queuedMs > spool.ageMs && !until.aborted)
        onEnd({ kind: "reset", reason: "spool-age" });
      if (ledger.parked > 0) await this.#lookAtParked(run, ledger, until);
    } catch (error) {
      if (!isMongoFailure(error)) throw error; // the next tick looks again
    }
  }

  /** Sends parked messages again for which an admin has asked, and removes the oldest of too many. */
  async #lookAtParked(run: SinkRun, ledger: SinkLedger, until: AbortSignal): Promise<void> {
    const { store, answer, log } = this.#parts;
    const asked = await answer(() => store.parked(this.#name, { limit: REPLAY_MAX, replay: true }));
    for (const message of asked) {
      if (until.aborted) break;
      if (message.rights === ledger.saved.rights) await run.replay(message);
      else {
        const { id } = message.message;
        log.warn(
          { event: id },
          "a parked message was removed and not sent: it is older than the sink's rights or rows",
        );
        run.forget(id);
      }
    }
    const excess = ledger.parked - this.#options.parked;
    if (asked.length > 0 || excess <= 0 || until.aborted) return;
    const oldest = await answer(() => store.oldestParked(this.#name, Math.min(excess, REPLAY_MAX)));
    log.warn(
      { messages: oldest.length },
      "the oldest parked messages were removed, because there are too many",
    );
    for (const id of oldest) run.forget(id);
  }
}

interface Holding {
  readonly term: LeaseTerm;
  readonly turn: SinkTurn;
  readonly ledger: SinkLedger;
  readonly target: Target;
  readonly ask: Ask;
  readonly isPaused: boolean;
  readonly signal: AbortSignal;
}

/** Asks the state database until it answers. */
type Ask = <T>(question: () => Promise<T>) => Promise<T>;

async function untilAnswered<T>(question: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let pauseMs = RETRY_FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, RETRY_MAX_MS)) {
    try {
      return await question();
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      signal.throwIfAborted();
      await pause(pauseMs * (0.5 + Math.random()), signal);
      signal.throwIfAborted();
    }
  }
}

/** Waits, or until `signal` aborts. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { signal }).catch(() => {}); // it rejects when the signal aborts

import { setTimeout as sleep } from "node:timers/promises";
import { preciseNow } from "../../metrics/precise-now.ts";
import { adviceFor } from "./advice.ts";
import { summaryOf, sumOf } from "./histogram.ts";
import { type LoopDelay, LoopWatch, worstOf } from "./loop-delay.ts";
import type { LoadOptions } from "./options.ts";
import { lowLimits, probe } from "./probe.ts";
import { failuresOf, type LoadResult, type Phase, type Second } from "./result.ts";
import { compileScenario } from "./scenario.ts";
import { addCounts, addErrors, type Interval, type ThreadFigures, type UserCounts } from "./tally.ts";
import { checkOpenFiles } from "./target.ts";
import { Threads } from "./threads.ts";
import type { GroupPlan } from "./user-group.ts";
import { Writers } from "./writers.ts";

/** Users that have no first result this long after the last one began do not hold up the run any longer. */
const RAMP_GRACE_MS = 30_000;
/** A run that is stopped waits at most this long for deliveries that are on their way. */
const EARLY_SETTLE_MS = 3_000;

/** Receives the progress of a run. */
export interface LoadEvents {
  second(second: Second): void;
  note(text: string): void;
}

/**
 * Runs a load test.
 * @param signal Ends it, with the results so far.
 * @throws {StartupError} It could not begin; the text says what to do.
 * @throws {UsageError} MongoDB has members on other machines.
 */
export async function runLoad(
  options: LoadOptions,
  events: LoadEvents,
  signal: AbortSignal,
): Promise<LoadResult> {
  checkOpenFiles(options.connections);
  // One signal ends every part of the run, with the reason for its end.
  const end = new AbortController();
  const onAbort = () => end.abort("it was stopped");
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort);
  const timer = setTimeout(() => end.abort("--max-time is over"), options.maxTimeMs);
  try {
    return await runUntil(options, events, end.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

async function runUntil(options: LoadOptions, events: LoadEvents, signal: AbortSignal): Promise<LoadResult> {
  const { writing, run } = options;
  const scenario = compileScenario(options.scenario);
  const writers =
    writing === undefined ? undefined : await Writers.open({ ...writing, run, scenario }, signal);
  let leftover: string | null = null;
  let result: LoadResult;
  try {
    const limits = await probe(options, signal);
    for (const note of lowLimits(limits, options)) events.note(note);
    result = await new LoadRun(options, writers, events).run(signal);
  } finally {
    await writers?.stop();
    leftover = (await writers?.close(writing?.keepsDocuments ?? false)) ?? null;
    if (leftover !== null) events.note(leftover);
  }
  return { ...result, leftover };
}

/** One run, from the first connection to the last delivery. */
class LoadRun {
  readonly #options: LoadOptions;
  readonly #writers: Writers | undefined;
  readonly #events: LoadEvents;
  readonly #series: Second[] = [];
  readonly #startedAt = new Date();
  readonly #startedAtMs = performance.now();
  readonly #early = new AbortController();
  readonly #loop = new LoopWatch();
  #loopDelay: LoopDelay | null = null;
  #writerFailure: string | null = null;
  #phase: Phase = "ramp";
  #endedEarly: string | null = null;
  #before: { counts: UserCounts; writes: number; atMs: number } = {
    counts: addCounts([]),
    writes: 0,
    atMs: this.#startedAtMs,
  };

  constructor(options: LoadOptions, writers: Writers | undefined, events: LoadEvents) {
    this.#options = options;
    this.#writers = writers;
    this.#events = events;
  }

  async run(signal: AbortSignal): Promise<LoadResult> {
    const onAbort = () => this.#endEarly(String(signal.reason));
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    const threads = new Threads(this.#plans(), (intervals) => this.#second(intervals));
    try {
      return this.#result(await this.#phases(threads));
    } finally {
      signal.removeEventListener("abort", onAbort);
      await threads.stop();
    }
  }

  async #phases(threads: Threads): Promise<ThreadFigures[]> {
    const { connections, ramp, warmUpMs, durationMs, settleMs } = this.#options;
    this.#writers?.start((error) => this.#writerFailed(error.message));
    const rampMs = (connections / ramp) * 1_000 + RAMP_GRACE_MS;
    await this.#wait(rampMs, threads.ramped);
    this.#phase = "warm-up";
    await this.#wait(warmUpMs, threads.failed);
    this.#phase = "measure";
    this.#loop.start();
    const fromMs = preciseNow();
    threads.measure(fromMs, fromMs + durationMs);
    await this.#wait(durationMs, threads.failed);
    // Writes that were due in the measured part are part of the result, however late they arrive.
    threads.measure(fromMs, Math.min(fromMs + durationMs, preciseNow()));
    this.#phase = "settle";
    const finals = (await this.#writers?.stop()) ?? [];
    if (this.#writers?.isStuck === true) this.#writerFailed("MongoDB did not acknowledge the last writes");
    this.#loopDelay = this.#loop.stop();
    const finished = threads.finish(finals, settleMs);
    const hurry = () => threads.hurry(EARLY_SETTLE_MS);
    if (this.#early.signal.aborted) hurry();
    this.#early.signal.addEventListener("abort", hurry);
    return finished;
  }

  #writerFailed(reason: string): void {
    this.#writerFailure ??= reason;
    this.#endEarly(`a writer failed: ${reason}`);
  }

  /** Waits for a time, unless the run ends early or `until` settles before. */
  async #wait(ms: number, until: Promise<void>): Promise<void> {
    const done = new AbortController();
    const signal = AbortSignal.any([this.#early.signal, done.signal]);
    // Either signal ends the wait, which is no error here.
    const time = sleep(ms, undefined, { signal }).catch(() => {});
    await Promise.race([time, until]).finally(() => done.abort());
  }

  #endEarly(reason: string): void {
    if (this.#endedEarly !== null) return;
    this.#endedEarly = reason;
    this.#events.note(`${reason}: the run ends with the results so far`);
    this.#early.abort();
  }

  #plans(): GroupPlan[] {
    const { url, scenario, credentials, run, connections, ramp, workers, leavers, stayMs, awayMs } =
      this.#options;
    const threads = Math.min(workers, connections);
    const target = this.#options.writing?.collection;
    const isFollowed = scenario.subscriptions.some(({ collection }) => collection === target);
    return Array.from({ length: threads }, (_plan, first) => ({
      url,
      scenario,
      credentials,
      run: this.#writers === undefined ? undefined : run,
      written: isFollowed ? target : undefined,
      first,
      step: threads,
      users: Math.ceil((connections - first) / threads),
      perSecond: ramp / threads,
      leavers,
      stayMs,
      awayMs,
    }));
  }

  #second(intervals: readonly Interval[]): void {
    const counts = addCounts(intervals.map((interval) => interval.counts));
    const { writes } = this.#writers?.figures ?? { writes: 0 };
    const nowMs = performance.now();
    const before = this.#before;
    const perSecond = (grown: number) => Math.round(grown / Math.max(0.001, (nowMs - before.atMs) / 1_000));
    const delivery = summaryOf(
      sumOf(
        intervals.map((interval) => interval.delivery),
        2,
      ),
    );
    const second: Second = {
      seconds: Math.round((nowMs - this.#startedAtMs) / 100) / 10,
      phase: this.#phase,
      connected: counts.connected,
      deliveriesPerSecond: perSecond(counts.received - before.counts.received),
      writesPerSecond: perSecond(writes - before.writes),
      bytesPerSecond: perSecond(counts.bytes - before.counts.bytes),
      lost: counts.lost,
      p50: delivery?.p50 ?? null,
      p99: delivery?.p99 ?? null,
      max: delivery?.max ?? null,
    };
    this.#before = { counts, writes, atMs: nowMs };
    this.#series.push(second);
    this.#events.second(second);
    if (counts.bytes > this.#options.maxBytes) this.#endEarly("--max-bytes were received");
  }

  #result(threads: readonly ThreadFigures[]): LoadResult {
    const { url, connections, ramp, workers, scenario, writing, warmUpMs, durationMs, run, p99Ms } =
      this.#options;
    const total = (of: (figures: ThreadFigures) => ThreadFigures["connect"]) =>
      summaryOf(sumOf(threads.map(of), 3));
    const sum = (of: (figures: ThreadFigures) => number) =>
      threads.reduce((all, figures) => all + of(figures), 0);
    const counts = addCounts(threads.map((figures) => figures.counts));
    const unfinished = sum((figures) => figures.unfinished);
    const delivery = total((figures) => figures.delivery);
    const blind = sum((figures) => figures.blind);
    const writes = this.#writers?.figures ?? null;
    const writerFailure = this.#writerFailure;
    // A run that was stopped early may not have begun all users, and some may be connecting without fault.
    const users = this.#endedEarly === null ? connections : counts.users - sum((figures) => figures.arriving);
    const errors = addErrors(threads.map((figures) => figures.errors)).map((error) => {
      const advice = adviceFor(error);
      return advice === undefined ? error : { ...error, advice };
    });
    return {
      run,
      url,
      startedAt: this.#startedAt.toISOString(),
      connections,
      ramp,
      workers,
      scenario,
      // Without the URI, which may have a password.
      writing: writing === undefined ? null : namespaceOf(writing),
      warmUpMs,
      durationMs,
      endedEarly: this.#endedEarly,
      connect: total((figures) => figures.connect),
      snapshot: total((figures) => figures.snapshot),
      delivery,
      resume: total((figures) => figures.resume),
      counts,
      unfinished,
      blind,
      writes,
      writerFailure,
      leftover: null, // known when the documents have been deleted
      loopDelay: worstOf([this.#loopDelay, ...threads.map((figures) => figures.loopDelay)]),
      errors,
      series: this.#series,
      failures: failuresOf({ counts, unfinished, blind, users, delivery, writes, writerFailure }, p99Ms),
    };
  }
}

const namespaceOf = ({ database, collection, writers, rate }: NonNullable<LoadOptions["writing"]>) => ({
  database,
  collection,
  writers,
  rate,
});

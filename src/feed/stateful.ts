/**
 * The state of a live query whose result is kept in memory. Some commits need a read from the database before their
 * changes are known. Commits that arrive meanwhile wait in the history, so nothing is buffered a second time and the
 * order stays correct.
 */
import { runThrough, type Steps } from "../match/steps.ts";
import type { Broadcast } from "./broadcast.ts";
import type { UNKNOWN } from "./change.ts";
import type { ChangeLog } from "./change-log.ts";
import type { History, HistoryEntry } from "./history.ts";
import type { Found, KeptResult, ResultKind } from "./kept-result.ts";
import { type LogEntry, toLogEntry } from "./log-entry.ts";
import type { Pace, Pacer } from "./pace.ts";
import type { ReadPast } from "./past.ts";
import { isLong } from "./pieces.ts";
import type { ResultState, WindowMember } from "./result-state.ts";
import type { Timeline } from "./timeline.ts";
import type { Touched } from "./window-changes.ts";

/** The parts that the results of all live queries share. */
export interface StatefulParts<Owner> {
  readonly timeline: Timeline;
  /** A result could not be kept up to date, and is read again. */
  readonly onWindowLost: (error: unknown) => void;
  /** The memory of the result of a live query may have changed. */
  readonly onWindowChanged: (owner: Owner) => void;
}

/** The parts of one live query. */
export interface OwnParts<Owner> {
  readonly kind: ResultKind;
  readonly log: ChangeLog;
  readonly broadcast: Broadcast;
  /** The live query, which divides work on earlier commits, and delivers the changes that were found late. */
  readonly owner: Owner;
}

/** Delivers the changes that were found late. */
interface Flushing {
  flush(): Iterable<void>;
}

/** The changes of one commit, or a promise of them. */
interface FoundLater {
  readonly found: Found;
}

const NOT_WAITING = Promise.resolve();

/**
 * A result that is kept in memory: the window of a sorted result, or the groups of an aggregate. It sometimes must ask the
 * database. Until the answer arrives, later commits wait in the history.
 */
export class Stateful<Owner extends Pacer & Flushing> implements ResultState {
  readonly isStateless = false;
  readonly #parts: StatefulParts<Owner>;
  readonly #kind: ResultKind;
  readonly #log: ChangeLog;
  readonly #broadcast: Broadcast;
  readonly #owner: Owner;
  /** `undefined` before the result is loaded, and after it was lost. */
  #result: KeptResult | undefined;
  /** The entry that the result has processed while it waits for the database; `null` if it does not wait. */
  #waitsAt: number | null = null;
  /** Settles when the result no longer waits, or was lost. */
  #waiting: Promise<void> = NOT_WAITING;
  /** Grows when work in progress has become void. Each asynchronous step compares it after a wait. */
  #generation = 0;
  /** Grows when the state is lost, and with it every read in progress. */
  #losses = 0;

  constructor(parts: StatefulParts<Owner>, { kind, log, broadcast, owner }: OwnParts<Owner>) {
    this.#parts = parts;
    this.#kind = kind;
    this.#log = log;
    this.#broadcast = broadcast;
    this.#owner = owner;
  }

  get #history(): History {
    return this.#parts.timeline.history;
  }

  get isLoaded(): boolean {
    return this.#result !== undefined;
  }

  get isCurrent(): boolean {
    return this.#waitsAt === null;
  }

  get knownSeq(): number {
    return this.#waitsAt === null ? this.#history.headSeq : this.#waitsAt;
  }

  get trackedDocuments(): number {
    return this.#result?.size ?? 0;
  }

  get heldBytes(): number {
    return this.#result?.heldBytes ?? 0;
  }

  get loadedAt(): bigint {
    return this.#result?.loadedAt ?? 0n;
  }

  get visible(): readonly WindowMember[] | null {
    return this.#result === undefined || this.#waitsAt !== null ? null : this.#result.visible;
  }

  visibleIn(answer: readonly Uint8Array[], clusterTime: bigint): readonly WindowMember[] {
    return this.#kind.load(answer, clusterTime).visible;
  }

  async reaches(seq: number): Promise<void> {
    while (this.knownSeq < seq) await this.#waiting;
  }

  async becomesCurrent(): Promise<void> {
    while (this.#waitsAt !== null) await this.#waiting;
  }

  apply(entry: HistoryEntry): boolean {
    if (this.#result === undefined || entry.commit.clusterTime <= this.#result.loadedAt) {
      this.#log.restart(entry.seq);
      return false;
    }
    if (this.#waitsAt !== null) return false;
    return this.#note(entry, this.#result.apply(entry));
  }

  *applyInSteps(entry: HistoryEntry): Generator<void, boolean> {
    const result = this.#result;
    const isReady =
      result !== undefined && this.#waitsAt === null && entry.commit.clusterTime > result.loadedAt;
    if (!isReady) return this.apply(entry);
    const touched = yield* result.touchedInSteps(entry);
    const changes = yield* result.applyTouched(entry, touched);
    // The live query may have been removed meanwhile.
    if (this.#result === result) return this.#note(entry, changes);
    if (changes instanceof Promise) changes.catch(() => {}); // its read has no purpose any more
    return false;
  }

  async prepareLoad(documents: readonly Uint8Array[]): Promise<void> {
    const pace = this.#owner.newPace();
    await pace.through(this.#kind.prepareInSteps(documents));
    pace.stop();
  }

  load(documents: readonly Uint8Array[], clusterTime: bigint): void {
    const seq = this.#history.seqAt(clusterTime);
    if (this.#result !== undefined || seq === null) return;
    this.#adopt(this.#kind.load(documents, clusterTime));
    this.#log.restart(seq);
    this.#catchUpAdopted();
  }

  lose(): void {
    this.#result = undefined;
    this.#waitsAt = null;
    this.#generation++;
    this.#losses++;
    this.#parts.onWindowChanged(this.#owner);
  }

  /** `lose` has ended all work in progress. */
  retire(): void {}

  /**
   * Extends the log backwards. A result cannot be undone, so its state at entry `seq` is read and brought forward to
   * the beginning of the log.
   */
  async extendTo(seq: number, readPast: ReadPast): Promise<boolean> {
    const at = this.#history.timeAfter(seq);
    if (at === null) return false;
    const losses = this.#losses;
    const past = await readPast(at);
    if (past === null) return false;
    try {
      await this.prepareLoad(past.documents);
      return await this.#bringForward(this.#kind.load(past.documents, at), seq, losses);
    } finally {
      past.release();
    }
  }

  #note(entry: HistoryEntry, changes: Found): boolean {
    if (!(changes instanceof Promise)) {
      this.#parts.onWindowChanged(this.#owner);
      return this.#broadcast.note(entry, changes);
    }
    this.#waiting = this.#catchUp(entry, changes);
    return false;
  }

  #adopt(result: KeptResult): void {
    this.#result = result;
    this.#waitsAt = null;
    this.#generation++;
    this.#parts.onWindowChanged(this.#owner);
  }

  /** Applies the entries of the history that are later than a state that was just loaded. */
  #catchUpAdopted(): void {
    const first = this.#history.next(this.#log.coveredFrom);
    if (first !== undefined) this.#waiting = this.#catchUp(first, this.#result?.apply(first) ?? []);
  }

  /** Processes the history from an entry whose changes are being read, as long as the database must be asked. */
  async #catchUp(first: HistoryEntry, firstChanges: Found): Promise<void> {
    const { timeline } = this.#parts;
    const broadcast = this.#broadcast;
    const generation = this.#generation;
    let entry: HistoryEntry | undefined = first;
    let changes = firstChanges;
    const pace = this.#owner.newPace();
    pace.stop();
    this.#waitsAt = first.seq - 1;
    try {
      while (entry !== undefined) {
        const found = await changes;
        pace.resume();
        await pace.through(broadcast.prepare(entry, found));
        pace.stop();
        // A commit must reach the lookups before it reaches a result, so this waits until the batch has been delivered.
        while (!timeline.isSettled) await timeline.settles;
        if (generation !== this.#generation) return;
        this.#waitsAt = entry.seq;
        this.#parts.onWindowChanged(this.#owner);
        if (broadcast.note(entry, found)) runThrough(this.#owner.flush());
        pace.resume();
        if (pace.isOver) await pace.keep();
        let next: HistoryEntry | undefined;
        let touched: Touched | typeof UNKNOWN | undefined;
        do {
          next = this.#history.next(entry.seq);
          touched = await this.#touchedByLong(next, this.#result, pace);
          // The time in which other live queries process their commits must not be charged to this result.
          pace.stop();
          while (!timeline.isSettled) await timeline.settles;
          if (generation !== this.#generation) return;
          if (entry.seq < this.#history.evictedSeq)
            throw new Error("the history evicted a commit before a result applied it");
          pace.resume();
          // The first commit after a pause may have arrived during that pause.
        } while (next !== this.#history.next(entry.seq));
        entry = next;
        if (entry !== undefined)
          ({ found: changes } = await this.#applyTo(this.#result, entry, touched, pace));
        pace.stop();
        if (generation !== this.#generation) return;
      }
      this.#waitsAt = null;
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#parts.onWindowLost(error);
      this.lose();
      runThrough(broadcast.startOverAll());
    }
  }

  /** Computes the effect of a long commit with pauses; `undefined` for any other commit. */
  async #touchedByLong(
    entry: HistoryEntry | undefined,
    result: KeptResult | undefined,
    pace: Pace,
  ): Promise<Touched | typeof UNKNOWN | undefined> {
    if (entry === undefined || result === undefined || !isLong(entry.commit.events)) return undefined;
    return pace.through(result.touchedInSteps(entry));
  }

  /**
   * Applies a commit, with pauses if it is long. The changes are returned inside an object, because they may be a
   * promise of a read, and an `await` would wait for it: the caller must stop its pace first.
   */
  async #applyTo(
    result: KeptResult | undefined,
    entry: HistoryEntry,
    touched: Touched | typeof UNKNOWN | undefined,
    pace: Pace,
  ): Promise<FoundLater> {
    if (result === undefined) return { found: [] };
    if (touched === undefined) return { found: result.apply(entry) };
    if (entry.commit.clusterTime <= result.loadedAt) return { found: [] };
    return pace.through(wrapped(result.applyTouched(entry, touched)));
  }

  /** Applies the commits after entry `seq` to a result of that time, up to the beginning of the log. */
  async #bringForward(result: KeptResult, seq: number, losses: number): Promise<boolean> {
    const { timeline } = this.#parts;
    const log = this.#log;
    const found: LogEntry[] = [];
    const pace = this.#owner.newPace();
    pace.stop();
    let done = seq;
    const target = () => (this.#result === undefined ? this.#history.headSeq : log.coveredFrom);
    for (;;) {
      // At the end the result takes over from the log, or becomes current. Both must happen between two batches of
      // commits.
      while (!timeline.isSettled) await timeline.settles;
      if (done >= target()) break;
      if (done < this.#history.evictedSeq || losses !== this.#losses) return false;
      const entry = this.#history.next(done);
      if (entry === undefined) return false;
      pace.resume();
      const touched = await this.#touchedByLong(entry, result, pace);
      const changes = await this.#applyTo(result, entry, touched, pace);
      pace.stop();
      const logEntry = toLogEntry(entry, await changes.found);
      if (logEntry !== null) found.push(logEntry);
      done = entry.seq;
      pace.resume();
      if (pace.isOver) await pace.keep();
    }
    if (losses !== this.#losses || seq < this.#history.evictedSeq) return false;
    if (this.#result === undefined) {
      this.#adopt(result);
      log.restart(done);
    }
    // Another read may have given the live query a state that is older than this one, with a log of its own.
    const { coveredFrom } = log;
    if (seq < coveredFrom) {
      const earlier = found.filter((entry) => entry.seq <= coveredFrom);
      log.prepend(earlier, seq);
    }
    return true;
  }
}

/** Wraps the result of steps in an object, so that a promise in it is not awaited. */
function* wrapped<T>(steps: Steps<T>): Steps<{ readonly found: T }> {
  return { found: yield* steps };
}

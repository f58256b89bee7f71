/**
 * The state of an unsorted live query. It exists so that sorted and unsorted live queries look the same to the rest of
 * the feed; most live queries are unsorted, so it uses almost no memory.
 */
import type { Broadcast } from "./broadcast.ts";
import type { ChangeLog } from "./change-log.ts";
import type { Evaluation } from "./evaluation.ts";
import type { History, HistoryEntry } from "./history.ts";
import { type LogEntry, toLogEntry } from "./log-entry.ts";
import type { Pacer } from "./pace.ts";
import { isLong } from "./pieces.ts";
import type { ResultState, WindowMember } from "./result-state.ts";

/** The parts that `Stateless` works with. */
export interface StatelessParts {
  readonly history: History;
  readonly evaluation: Evaluation;
  readonly log: ChangeLog;
  readonly broadcast: Broadcast;
  /** Divides work on earlier commits. */
  readonly pacer: Pacer;
}

const DONE = Promise.resolve();
const NONE_VISIBLE: readonly WindowMember[] = [];

/** An unsorted result. It keeps no state, because the images of an event show how the event changes the result. */
export class Stateless implements ResultState {
  readonly #history: History;
  readonly #evaluation: Evaluation;
  readonly #log: ChangeLog;
  readonly #broadcast: Broadcast;
  readonly #pacer: Pacer;
  #isRetired = false;

  constructor({ history, evaluation, log, broadcast, pacer }: StatelessParts) {
    this.#history = history;
    this.#evaluation = evaluation;
    this.#log = log;
    this.#broadcast = broadcast;
    this.#pacer = pacer;
  }

  // Getters instead of fields, because fields would need memory in each live query.
  get isStateless(): true {
    return true;
  }

  get isLoaded(): true {
    return true;
  }

  get isCurrent(): true {
    return true;
  }

  get trackedDocuments(): number {
    return 0;
  }

  get heldBytes(): number {
    return 0;
  }

  get visible(): readonly WindowMember[] {
    return NONE_VISIBLE;
  }

  visibleIn(): readonly WindowMember[] {
    return NONE_VISIBLE;
  }

  get loadedAt(): bigint {
    return 0n;
  }

  get knownSeq(): number {
    return this.#history.headSeq;
  }

  reaches(): Promise<void> {
    return DONE;
  }

  becomesCurrent(): Promise<void> {
    return DONE;
  }

  apply(entry: HistoryEntry): boolean {
    return this.#broadcast.note(entry, this.#evaluation.of(entry.commit.events));
  }

  *applyInSteps(entry: HistoryEntry): Generator<void, boolean> {
    const changes = yield* this.#evaluation.inSteps(entry.commit.events);
    // The live query may have been removed during a pause.
    return !this.#isRetired && this.#broadcast.note(entry, changes);
  }

  prepareLoad(): Promise<void> {
    return DONE;
  }

  load(): void {}

  lose(): void {}

  retire(): void {
    this.#isRetired = true;
  }

  async extendTo(seq: number): Promise<boolean> {
    const history = this.#history;
    const log = this.#log;
    const evaluation = this.#evaluation;
    const found: LogEntry[] = [];
    const pace = this.#pacer.newPace();
    let done = seq;
    // The log may drop its oldest entries meanwhile, so the target is read on each round.
    while (done < log.coveredFrom) {
      const entry = done < history.evictedSeq ? undefined : history.next(done);
      if (entry === undefined || this.#isRetired) break;
      const { events } = entry.commit;
      const changes = isLong(events) ? await pace.through(evaluation.inSteps(events)) : evaluation.of(events);
      const logEntry = toLogEntry(entry, changes);
      if (logEntry !== null) found.push(logEntry);
      done = entry.seq;
      if (pace.isOver) await pace.keep();
    }
    pace.stop();
    if (done < log.coveredFrom) return false;
    // Meanwhile a new order of commits may have begun, or the history may have evicted some of these entries.
    if (seq < history.evictedSeq) return false;
    log.prepend(found, seq);
    return true;
  }
}

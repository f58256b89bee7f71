import type { Broadcast } from "./broadcast.ts";
import type { ChangeLog } from "./change-log.ts";
import type { Evaluation } from "./evaluation.ts";
import type { History, HistoryEntry } from "./history.ts";
import { type LogEntry, toLogEntry } from "./log-entry.ts";
import type { Pace } from "./pace.ts";
import { isLong } from "./pieces.ts";
import type { ResultState, WindowMember } from "./result-state.ts";

/** The parts that `Stateless` works with. */
export interface StatelessParts {
  readonly history: History;
  readonly evaluation: Evaluation;
  readonly log: ChangeLog;
  readonly broadcast: Broadcast;
  /** Divides work on earlier commits. */
  readonly newPace: () => Pace;
}

const DONE = Promise.resolve();
const NONE_VISIBLE: readonly WindowMember[] = [];

/** An unsorted result. It remembers nothing: the images of an event tell how the event changes it. */
export class Stateless implements ResultState {
  readonly isStateless = true;
  readonly isLoaded = true;
  readonly isCurrent = true;
  readonly trackedDocuments = 0;
  readonly heldBytes = 0;
  readonly visible = NONE_VISIBLE;
  readonly #parts: StatelessParts;
  #isRetired = false;

  constructor(parts: StatelessParts) {
    this.#parts = parts;
  }

  get knownSeq(): number {
    return this.#parts.history.headSeq;
  }

  reaches(): Promise<void> {
    return DONE;
  }

  becomesCurrent(): Promise<void> {
    return DONE;
  }

  apply(entry: HistoryEntry): boolean {
    return this.#parts.broadcast.note(entry, this.#parts.evaluation.of(entry.commit.events));
  }

  *applyInSteps(entry: HistoryEntry): Generator<void, boolean> {
    return this.#parts.broadcast.note(entry, yield* this.#parts.evaluation.inSteps(entry.commit.events));
  }

  load(): void {}

  lose(): void {}

  retire(): void {
    this.#isRetired = true;
  }

  async extendTo(seq: number): Promise<boolean> {
    const { history, log, evaluation, newPace } = this.#parts;
    const found: LogEntry[] = [];
    const pace = newPace();
    let done = seq;
    // The log may drop its beginning meanwhile.
    while (done < log.coveredFrom) {
      const entry = done < history.evictedSeq ? undefined : history.next(done);
      if (entry === undefined || this.#isRetired) break;
      const { events } = entry.commit;
      if (isLong(events)) await pace.through(evaluation.prepareInSteps(events));
      const logEntry = toLogEntry(entry, evaluation.of(events));
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

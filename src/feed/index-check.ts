/**
 * Enforces `allow.requireIndex`. A client chooses its own filter, and without an index MongoDB reads the whole
 * collection for it, so a rule can demand that an index serves every snapshot.
 */
import { canonicalFilter } from "../match/canonical-filter.ts";
import { filterShape } from "../match/filter-shape.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { TidewireError } from "../protocol/errors.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { SnapshotPlan } from "../source/snapshot-plan.ts";
import type { LiveQuery } from "./live-query.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";

/** How long an answer of the server's planner counts, in milliseconds. Indexes may be created or dropped meanwhile. */
const ANSWER_AGE_MS = 60_000;
/** How many answers are kept. The oldest are evicted. */
const ANSWERS_MAX = 1_000;

interface Answer {
  readonly isServed: boolean;
  readonly untilMs: number;
}

/**
 * Refuses snapshots that no index serves, for rules with `allow.requireIndex`. The server's planner decides
 * (`explain`). Its answer is kept for a while: for filters of the same shape if it does not depend on their values, and
 * for equal filters otherwise.
 */
export class IndexCheck {
  readonly #reader: Pick<SnapshotReader, "plan">;
  readonly #metrics: Metrics;
  readonly #now: () => number;
  readonly #answers = new Map<string, Answer>();

  constructor(reader: Pick<SnapshotReader, "plan">, metrics: Metrics, now: () => number = Date.now) {
    this.#reader = reader;
    this.#metrics = metrics;
    this.#now = now;
  }

  /** The number of answers that are kept. */
  get size(): number {
    return this.#answers.size;
  }

  /**
   * Checks the snapshot of a live query.
   * @throws {TidewireError} `forbidden` if no index serves the snapshot; `unavailable` if the server does not answer.
   */
  async check(liveQuery: LiveQuery): Promise<void> {
    if (!liveQuery.spec.requireIndex) return;
    if (await this.#isServed(liveQuery)) return;
    const text = "no index serves this request: filter and sort by fields that are indexed";
    throw new TidewireError("forbidden", text, { part: "index" });
  }

  async #isServed({ namespace, spec, snapshotQuery }: LiveQuery): Promise<boolean> {
    const target = JSON.stringify([namespace, spec.sort]);
    const ofShape = `shape ${target} ${filterShape(spec.filter)}`;
    const ofFilter = `filter ${target} ${canonicalFilter(spec.filter)}`;
    const known = this.#known(ofFilter) ?? this.#known(ofShape);
    if (known !== undefined) {
      this.#metrics.indexChecks.inc({ outcome: "cached" });
      return known;
    }
    const plan = await this.#plan(snapshotQuery);
    const isServed = !plan.readsEverything && !plan.sortsInMemory;
    this.#metrics.indexChecks.inc({ outcome: isServed ? "served" : "refused" });
    // A partial index serves only some values of a shape, so its answer counts for this filter alone.
    this.#keep(isServed && !plan.usesPartialIndex ? ofShape : ofFilter, isServed);
    return isServed;
  }

  async #plan(query: LiveQuery["snapshotQuery"]): Promise<SnapshotPlan> {
    try {
      return await this.#reader.plan(query);
    } catch (cause) {
      this.#metrics.indexChecks.inc({ outcome: "failed" });
      if (!isMongoFailure(cause)) throw cause;
      const text = "could not determine whether an index serves this request: try again later";
      throw new TidewireError("unavailable", text, {}, { cause });
    }
  }

  #known(key: string): boolean | undefined {
    const answer = this.#answers.get(key);
    if (answer === undefined || answer.untilMs > this.#now()) return answer?.isServed;
    this.#answers.delete(key);
    return undefined;
  }

  #keep(key: string, isServed: boolean): void {
    this.#answers.delete(key);
    this.#answers.set(key, { isServed, untilMs: this.#now() + ANSWER_AGE_MS });
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= ANSWERS_MAX) break;
      this.#answers.delete(oldest);
    }
  }
}

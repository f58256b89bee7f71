import type { Summary } from "./histogram.ts";
import type { LoopDelay } from "./loop-delay.ts";
import type { ErrorCount, UserCounts } from "./tally.ts";
import type { WriterFigures } from "./writers.ts";

/** One second of a run. */
export interface Second {
  /** Since the start of the run. */
  readonly seconds: number;
  readonly phase: Phase;
  readonly connected: number;
  readonly deliveriesPerSecond: number;
  readonly writesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly lost: number;
  /** Of the delivery times in this second, in milliseconds; `null` if nothing was delivered. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/** Parts of a run, in their order. */
export const PHASES = ["ramp", "warm-up", "measure", "settle"] as const;
/** One of `PHASES`. */
export type Phase = (typeof PHASES)[number];

/** The result of a run, as `--json` writes it. Times are in milliseconds. */
export interface LoadResult {
  readonly run: string;
  readonly url: string;
  readonly startedAt: string;
  readonly connections: number;
  readonly ramp: number;
  readonly workers: number;
  readonly scenario: unknown;
  readonly writing: {
    readonly database: string;
    readonly collection: string;
    readonly writers: number;
    readonly rate: number;
  } | null;
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** Why the run ended early; `null` if it did not. */
  readonly endedEarly: string | null;
  readonly connect: Summary | null;
  readonly snapshot: Summary | null;
  readonly delivery: Summary | null;
  readonly resume: Summary | null;
  readonly counts: UserCounts;
  readonly unfinished: number;
  readonly blind: number;
  readonly writes: WriterFigures | null;
  /** Why a writer failed, which ends the run; `null` if none did. */
  readonly writerFailure: string | null;
  /** Which documents the run could not delete, and how to delete them; `null` if none remain, or all are kept. */
  readonly leftover: string | null;
  /** How late the event loops of the load driver were while measured: the worst of its threads. */
  readonly loopDelay: LoopDelay | null;
  readonly errors: readonly (ErrorCount & { readonly advice?: string })[];
  readonly series: readonly Second[];
  /** Reasons why the run has failed. */
  readonly failures: readonly string[];
}

/** The figures by which a run is judged. */
export interface Judged
  extends Pick<LoadResult, "counts" | "unfinished" | "blind" | "delivery" | "writes" | "writerFailure"> {
  /** How many users must have had a first result. */
  readonly users: number;
}

/** @returns The reasons why a run has failed, each with its number. */
export function failuresOf(judged: Judged, p99Ms: number | undefined): string[] {
  const { counts, unfinished, users, delivery, writes, writerFailure } = judged;
  const failures: string[] = [];
  const note = (count: number, one: string, many: string, text: string) => {
    if (count > 0) failures.push(`${number(count)} ${count === 1 ? one : many} ${text}`);
  };
  if (writerFailure !== null) failures.push(`a writer failed: ${writerFailure}`);
  note(counts.lost, "delivery", "deliveries", "lost");
  note(counts.repeated, "delivery", "deliveries", "repeated");
  note(counts.outOfOrder, "delivery", "deliveries", "out of order");
  note(users - counts.ready, "user", "users", "never received a first result");
  // Users without a first result are named already.
  if (counts.ready >= users) note(unfinished, "subscription", "subscriptions", "not live at the end");
  failures.push(...uncheckedOf(judged, failures.length > 0));
  if (p99Ms !== undefined && writes !== null && writes.behindMs > p99Ms) {
    failures.push(
      `the 99th percentile of the delivery times is unknown (--p99): the writers were ${ms(writes.behindMs)} ms behind at the end, and their last writes were not made. MongoDB or this machine is at its limit`,
    );
  }
  if (p99Ms !== undefined && (delivery === null || delivery.p99 > p99Ms)) {
    const found = delivery === null ? "nothing was delivered" : `it is ${delivery.p99} ms`;
    failures.push(`the 99th percentile of the delivery times is to be at most ${p99Ms} ms (--p99): ${found}`);
  }
  return failures;
}

/** The reasons why writes were not checked. A run that has checked nothing has not passed. */
function uncheckedOf({ writes, blind, counts }: Judged, hasFailed: boolean): string[] {
  if (writes === null) return [];
  if (writes.writes === 0)
    return ["no write was made, so nothing was checked: use a longer --duration or a higher --rate"];
  if (counts.received === 0 && counts.unmarked > 0) {
    return [
      "no change had a mark, so nothing was checked: the rule hides the field `load`, or the collection has other writers. Allow the users to read the field",
    ];
  }
  if (blind > 0) {
    return [
      `${number(blind)} ${blind === 1 ? "subscription" : "subscriptions"} never saw a document of the writers, so nothing was checked for them: compare \`filter\` with \`document\` in the scenario, --collection with the collection, and the rules with the claims. The rules must show the field \`load\` as well`,
    ];
  }
  if (counts.received > 0 || hasFailed) return [];
  return ["no write arrived, so nothing was checked: use a longer --duration or --settle"];
}

/** A number as people write it: 12,345. */
export const number = (value: number): string => value.toLocaleString("en-US");

/** A time in milliseconds. Three digits are enough to compare, and easy to read. */
export const ms = (value: number): string =>
  value >= 100 ? number(Math.round(value)) : value.toFixed(value >= 10 ? 1 : 2);

import type { Summary } from "./histogram.ts";
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
  readonly errors: readonly (ErrorCount & { readonly advice?: string })[];
  readonly series: readonly Second[];
  /** Reasons why the run has failed. */
  readonly failures: readonly string[];
}

/** The figures by which a run is judged. */
export interface Judged extends Pick<LoadResult, "counts" | "unfinished" | "delivery"> {
  /** How many users must have had a first result. */
  readonly users: number;
}

/** @returns The reasons why a run has failed, each with its number. */
export function failuresOf(
  { counts, unfinished, users, delivery }: Judged,
  p99Ms: number | undefined,
): string[] {
  const failures: string[] = [];
  const note = (count: number, one: string, many: string, text: string) => {
    if (count > 0) failures.push(`${number(count)} ${count === 1 ? one : many} ${text}`);
  };
  note(counts.lost, "delivery", "deliveries", "lost");
  note(counts.repeated, "delivery", "deliveries", "repeated");
  note(counts.outOfOrder, "delivery", "deliveries", "out of order");
  note(users - counts.ready, "user", "users", "never received a first result");
  // Users without a first result are named already.
  if (counts.ready >= users) note(unfinished, "subscription", "subscriptions", "not live at the end");
  if (p99Ms !== undefined && (delivery === null || delivery.p99 > p99Ms)) {
    const found = delivery === null ? "nothing was delivered" : `it is ${delivery.p99} ms`;
    failures.push(`the 99th percentile of the delivery times is to be at most ${p99Ms} ms (--p99): ${found}`);
  }
  return failures;
}

/** A number as people write it: 12,345. */
export const number = (value: number): string => value.toLocaleString("en-US");

/** A time in milliseconds. Three digits are enough to compare, and easy to read. */
export const ms = (value: number): string =>
  value >= 100 ? number(Math.round(value)) : value.toFixed(value >= 10 ? 1 : 2);

/** The result of a run as text for a terminal. */
import type { Paint } from "../../terminal/paint.ts";
import { adviceFor } from "./advice.ts";
import type { Summary } from "./histogram.ts";
import { type LoadResult, ms, number, type Second } from "./result.ts";

const COLUMNS = ["count", "min", "mean", "p50", "p90", "p95", "p99", "p999", "max"] as const;
const HEADINGS = ["count", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
const ERRORS_SHOWN = 10;
/** Writers look for due writes every 10 ms. A lag far above that is a stall, and not their rhythm. */
const LAG_MS_SHOWN = 100;
/** Timers of a healthy thread are a few milliseconds late. */
const LOOP_DELAY_MS_SHOWN = 20;
/** Below this share of the delivery times, the delay of the driver itself does not change what they say. */
const LOOP_DELAY_SHARE = 0.25;

/** The report that a run ends with. */
export function reportText(result: LoadResult, paint: Paint): string {
  const sections = [
    ...head(result),
    "",
    ...timeTable(result),
    "",
    ...deliveryLines(result, paint),
    ...errorLines(result, paint),
    ...noteLines(result, paint),
    "",
    ...verdict(result, paint),
  ];
  return sections.join("\n");
}

/** One line about one second, while a run goes on. */
export function progressText({ seconds, phase, connected, ...second }: Second, connections: number): string {
  const { deliveriesPerSecond, writesPerSecond, p50, p99, lost } = second;
  const times = p99 === null ? "" : ` · p50 ${ms(p50 ?? 0)} p99 ${ms(p99)} ms`;
  const users = `${number(connected)}/${number(connections)} connected`;
  const rates = `${number(writesPerSecond)} writes/s · ${number(deliveriesPerSecond)} deliveries/s`;
  return `${String(Math.round(seconds)).padStart(4)} s ${phase.padEnd(7)} ${users} · ${rates}${times}${lost > 0 ? ` · LOST ${number(lost)}` : ""}`;
}

function head({ url, connections, counts, writing, writes, durationMs }: LoadResult): string[] {
  const wrote =
    writing === null || writes === null
      ? "no writers (no --mongodb)"
      : `${number(writes.writes)} writes to ${writing.database}.${writing.collection} of ${number(writes.wanted)} wanted`;
  return [
    `${url}: ${number(counts.ready)} of ${number(connections)} users had a first result; ${wrote}; measured for ${durationMs / 1_000} s`,
  ];
}

function timeTable({ connect, snapshot, delivery, resume }: LoadResult): string[] {
  const rows: [string, Summary | null][] = [
    ["connect", connect],
    ["first result", snapshot],
    ["delivery", delivery],
    ...(resume === null ? [] : [["resume", resume] satisfies [string, Summary]]),
  ];
  const cells = rows.map(([name, summary]) => [
    name,
    ...COLUMNS.map((column) => {
      if (summary === null) return "-";
      return column === "count" ? number(summary.count) : ms(summary[column]);
    }),
  ]);
  return align([["times in ms", ...HEADINGS], ...cells]);
}

function deliveryLines({ counts, series }: LoadResult, paint: Paint): string[] {
  const measured = series.filter(({ phase }) => phase === "measure");
  const rate = mean(measured.map(({ deliveriesPerSecond }) => deliveriesPerSecond));
  const bad = (count: number, text: string) =>
    count > 0 ? paint.red(`${number(count)} ${text}`) : `${number(count)} ${text}`;
  const lines = [
    `deliveries: ${number(counts.received)} (${number(Math.round(rate))}/s while measured), ${bad(counts.lost, "lost")}, ${bad(counts.repeated, "repeated")}, ${bad(counts.outOfOrder, "out of order")}`,
    `received:   ${mib(counts.bytes)} MiB, ${number(counts.snapshotDocuments)} documents in snapshots`,
  ];
  if (counts.caughtUp > 0)
    lines.push(
      `            ${number(counts.caughtUp)} of the deliveries were missed while users were away on purpose or arrived for the first time`,
    );
  if (counts.resets > 0) {
    lines.push(
      `            ${number(counts.resets)} resets: a newer snapshot replaced ${number(counts.replaced)} writes, which is not a loss`,
    );
  }
  return lines;
}

function errorLines({ errors, counts }: LoadResult, paint: Paint): string[] {
  if (errors.length === 0) return [];
  const shown = errors.slice(0, ERRORS_SHOWN).flatMap(({ code, count, message, advice }) => {
    const lines = [`  ${paint.yellow(`${number(count)} × ${code}`)}: ${message || "(no text)"}`];
    return advice === undefined ? lines : [...lines, `    ${advice}.`];
  });
  const more = errors.length - ERRORS_SHOWN;
  return [
    "",
    `errors, of ${number(counts.attempts)} attempts to connect and ${number(counts.disconnects)} connections that broke:`,
    ...shown,
    ...(more > 0 ? [`  and ${more} more codes (--json has all)`] : []),
  ];
}

function noteLines(result: LoadResult, paint: Paint): string[] {
  const { writes, writing, counts, delivery, loopDelay, leftover } = result;
  const notes: string[] = [];
  if (writing === null && counts.unmarked > 0 && delivery === null) {
    notes.push(
      "The changes had no mark, so no delivery time was measured: give --mongodb, and `tidewire load` writes with marks.",
    );
  }
  if (writes !== null && writes.writes < writes.wanted * 0.95) {
    notes.push(
      `The writers were slower than asked: ${number(writes.writes)} of ${number(writes.wanted)} writes. MongoDB or this machine is at its limit; use more --writers, or a lower --rate.`,
    );
  }
  if (writes !== null && writes.lagMs >= LAG_MS_SHOWN) {
    notes.push(
      `Writes were made up to ${ms(writes.lagMs)} ms after they were due, because MongoDB or this machine stalled. Delivery times begin when a write is due, so they contain this.`,
    );
  }
  if (
    loopDelay !== null &&
    loopDelay.p99 >= Math.max(LOOP_DELAY_MS_SHOWN, (delivery?.p99 ?? 0) * LOOP_DELAY_SHARE)
  ) {
    notes.push(
      `The load driver itself was late by ${ms(loopDelay.p99)} ms (99th percentile of its event loop delay; ${ms(loopDelay.max)} ms at most). The times say little about the service: use more --workers, fewer --connections, or another machine.`,
    );
  }
  if (leftover !== null) notes.push(leftover);
  return notes.flatMap((note) => ["", paint.yellow(note)]);
}

function verdict({ failures, endedEarly, writing }: LoadResult, paint: Paint): string[] {
  const early =
    endedEarly === null
      ? []
      : [paint.yellow(`Ended early: ${endedEarly}. The figures are those up to then.`)];
  if (failures.length > 0) return [...early, paint.red(`FAILED: ${failures.join("; ")}`)];
  const checked = writing === null ? "nothing failed" : "every write arrived once, in order";
  return [...early, paint.green(`OK: ${checked}`)];
}

/** An error of the first user, with the advice for it. */
export function refusalText(code: string, message: string): string {
  const advice = adviceFor({ code, message });
  return `${code}: ${message || "(no text)"}${advice === undefined ? "" : `\n${advice}.`}`;
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_cell, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join("  "),
  );
}

const mib = (bytes: number) => (bytes / 1_048_576).toFixed(1);
const mean = (values: readonly number[]) =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

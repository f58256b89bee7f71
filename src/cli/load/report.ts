/** The result of a run as text for a terminal. */
import type { Paint } from "../../terminal/paint.ts";
import { adviceFor } from "./advice.ts";
import type { Summary } from "./histogram.ts";
import { type LoadResult, ms, number, type Second } from "./result.ts";

const COLUMNS = ["count", "min", "mean", "p50", "p90", "p95", "p99", "p999", "max"] as const;
const HEADINGS = ["count", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
const ERRORS_SHOWN = 10;

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
      `            ${number(counts.caughtUp)} of the deliveries were missed while away and came at the return`,
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

function noteLines({ blind, writes, writing, counts, delivery }: LoadResult, paint: Paint): string[] {
  const notes: string[] = [];
  if (writing !== null && blind > 0) {
    notes.push(
      `${number(blind)} subscriptions never saw a document of the writers, so nothing was checked for them. Compare \`filter\` with \`document\` in the scenario, --collection with the collection, and the rules with the claims.`,
    );
  }
  if (counts.unmarked > 0 && delivery === null) {
    notes.push(
      "The changes had no mark: the rule hides the field `load`, or the collection has other writers. Allow the field, and delivery times can be measured.",
    );
  }
  if (writes !== null && writes.writes < writes.wanted * 0.95) {
    notes.push(
      `The writers were slower than asked: ${number(writes.writes)} of ${number(writes.wanted)} writes. MongoDB or this machine is at its limit; use more --writers, or a lower --rate.`,
    );
  }
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

/** A service that refuses one user refuses all, so that this is all there is to say. */
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

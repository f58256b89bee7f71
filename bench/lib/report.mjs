/** Medians over the rounds, ratios within each round, and the tables. */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { ROOT } from "./product.mjs";
import { median } from "./statistics.mjs";

/** Values and ratios of one scenario; ratios are of one round each, as the machine is not the same in the next. */
export function summarize(scenario, roundsByLane) {
  const valuesOf = (name) => roundsByLane.get(name)?.map(({ value }) => value) ?? [];
  const ratio = (lane, against) => median(valuesOf(lane).map((value, i) => value / valuesOf(against)[i]));
  const rows = [...roundsByLane].map(([name, rounds]) => {
    const middle = (key) => median(rounds.map((round) => round[key] ?? Number.NaN));
    return {
      name,
      value: middle("value"),
      ratio: ratio(name, scenario.reference),
      p50: middle("p50"),
      p95: middle("p95"),
      p99: middle("p99"),
      cpuShare: middle("cpuShare"),
      perSecond: middle("perSecond"),
      bytesEach: middle("bytesEach"),
      mongodMsPer1000: median(
        rounds.map(({ mongodCpuMs, changes }) => (mongodCpuMs * 1_000) / changes).filter(Number.isFinite),
      ),
      rounds: rounds.map(({ value }) => value),
    };
  });
  const targets = scenario.targets
    .filter(({ lane, against }) => [lane, against ?? lane].every((name) => roundsByLane.has(name)))
    .map((target) => {
      const { lane, against, atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = target;
      const measured = against === undefined ? median(valuesOf(lane)) : ratio(lane, against);
      return { ...target, measured, isMet: measured <= atMost && measured >= atLeast };
    });
  const { name, about, unit, reference } = scenario;
  return { name, about, unit, reference, rows, targets };
}

const shown = (value) => {
  if (!Number.isFinite(value)) return "";
  const size = Math.abs(value);
  if (size >= 1_000) return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
};

/** Titles and cells of a table, the first cell of each row a name. */
function cellsOf({ unit, reference, rows }) {
  const hasLatency = rows.some(({ p50 }) => Number.isFinite(p50));
  const hasShare = rows.some(({ cpuShare }) => Number.isFinite(cpuShare));
  const hasRate = rows.some(({ perSecond }) => Number.isFinite(perSecond));
  const hasBytes = rows.some(({ bytesEach }) => Number.isFinite(bytesEach));
  const hasMongod = rows.some(({ mongodMsPer1000 }) => Number.isFinite(mongodMsPer1000));
  const head = [
    "",
    unit,
    `× ${reference}`,
    ...(hasLatency ? ["p50 ms", "p95 ms", "p99 ms"] : []),
    ...(hasShare ? ["% of a core"] : []),
    ...(hasRate ? ["per second"] : []),
    ...(hasBytes ? ["bytes on the wire each"] : []),
    ...(hasMongod ? ["mongod ms/1,000"] : []),
  ];
  const lines = rows.map((row) => [
    row.name,
    shown(row.value),
    shown(row.ratio),
    ...(hasLatency ? [shown(row.p50), shown(row.p95), shown(row.p99)] : []),
    ...(hasShare ? [shown(row.cpuShare)] : []),
    ...(hasRate ? [shown(row.perSecond)] : []),
    ...(hasBytes ? [shown(row.bytesEach)] : []),
    ...(hasMongod ? [shown(row.mongodMsPer1000)] : []),
  ]);
  return { head, lines };
}

/** For the terminal. */
export function tableOf(result) {
  const { head, lines } = cellsOf(result);
  const widths = head.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i].length)));
  const text = (line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  const title = `\n${result.name}: ${result.about}`;
  return [title, text(head), ...lines.map(text), ...result.targets.map(targetText)].join("\n");
}

const BLOCK = /(<!-- bench -->\n)([\s\S]*)(<!-- \/bench -->)/;

/**
 * Writes the tables into a page. A run of some scenarios leaves the tables of the others as they are, and says in its own
 * tables how they were measured.
 * @param run `machine`: a line about the run; `names`: all scenarios, in their order; `command`: of a run of some of them.
 */
export function intoPage(page, results, { machine, names, command }) {
  const origin = command === undefined ? [] : [`Measured by \`${command}\`, ${machine}`, ""];
  const sections = new Map(results.map((result) => [result.name, sectionOf(result, origin)]));
  return page.replace(BLOCK, (_all, begin, block, end) => {
    const [head = "", ...old] = block.split(/^(?=### )/m);
    const kept = command === undefined ? [] : old.map((text) => [/^### (.*)/.exec(text)?.[1], text.trim()]);
    const all = new Map([...kept, ...sections]);
    const inOrder = names.flatMap((name) => all.get(name) ?? []);
    const first = command === undefined ? machine : head.trim();
    return `${begin}\n${[first, ...inOrder].join("\n\n")}\n\n${end}`;
  });
}

function sectionOf(result, origin) {
  const { head, lines } = cellsOf(result);
  const row = (cells) => `| ${cells.join(" | ")} |`;
  const table = [row(head), row(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...lines.map(row)];
  const targets = result.targets.map((target) => `- ${targetText(target).trim()}`);
  return [`### ${result.name}`, "", `${result.about}.`, "", ...origin, ...table, "", ...targets]
    .join("\n")
    .trim();
}

function targetText({ lane, against, atMost, atLeast, measured, isMet }) {
  const wanted = atMost === undefined ? `at least ${shown(atLeast)}` : `at most ${shown(atMost)}`;
  const of = against === undefined ? lane : `${lane} / ${against}`;
  return `  ${isMet ? "met" : "MISSED"}: ${of}: ${shown(measured)}, wanted ${wanted}`;
}

/**
 * Puts a result between the two marks of `docs/performance.md`.
 * @param name In the marks, such as `rules`.
 */
export async function writeDocs(name, text) {
  const file = fileURLToPath(new URL("docs/performance.md", ROOT));
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const page = await readFile(file, "utf8");
  const from = page.indexOf(begin) + begin.length;
  const to = page.indexOf(end, from);
  if (!page.includes(begin) || to < 0) throw new Error(`${file} needs the marks ${begin} and ${end}`);
  await writeFile(file, `${page.slice(0, from)}\n\n${text}\n\n${page.slice(to)}`);
}

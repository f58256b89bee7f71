/** The tables of bench/fleet.mjs. */
import { median } from "./statistics.mjs";

export const nameOf = ({ nodes, isTail }) => `${nodes}, ${isTail ? "the tail" : "a stream each"}`;

/** Medians over the rounds. Ratios are of one round each. */
export function summarize(rounds) {
  const variants = rounds[0].map(({ variant }) => variant);
  const base = variants.findIndex(({ nodes, isTail }) => nodes === 1 && !isTail);
  return variants.map((variant, index) => {
    const middle = (load, name) => median(rounds.map((round) => round[index].figures[load][name]));
    const ratio = (load) =>
      median(rounds.map((round) => round[index].figures[load].mongod / round[base]?.figures[load].mongod));
    const of = (load) => ({
      ...Object.fromEntries(
        Object.keys(rounds[0][index].figures[load]).map((name) => [name, middle(load, name)]),
      ),
      ratio: ratio(load),
    });
    return { variant, bursts: of("bursts"), paced: of("paced"), idle: of("idle") };
  });
}

const shown = (value) => {
  if (!Number.isFinite(value)) return "";
  const size = Math.abs(value);
  if (size >= 1_000) return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
};

const row = (cells) => `| ${cells.join(" | ")} |`;

function tableOf(rows, load) {
  const head = [
    "nodes",
    "mongod µs",
    "× 1 node",
    "Redis µs",
    "first node µs",
    "each other µs",
    "Redis sends bytes",
  ];
  const lines = rows.map(({ variant, [load]: of }) => {
    const { mongod, ratio, redis, first, other, sentBytes, p50, p99 } = of;
    return [nameOf(variant), ...[mongod, ratio, redis, first, other, sentBytes, p50, p99].map(shown)];
  });
  const all = [...head, "delay p50 ms", "delay p99 ms"];
  return [row(all), row(all.map((_, i) => (i === 0 ? "---" : "---:"))), ...lines.map(row)].join("\n");
}

function idleTableOf(rows) {
  const lines = rows.map(({ variant, idle: { mongod, redis } }) => [
    nameOf(variant),
    shown(mongod),
    shown(redis),
  ]);
  const head = ["nodes", "mongod µs a second", "Redis µs a second"];
  return [row(head), row(["---", "---:", "---:"]), ...lines.map(row)].join("\n");
}

/** The aims are for 24 nodes. The delay is judged with fewer as well, because many nodes wait for a core of this machine. */
export function verdictsOf(rows) {
  const shared = rows.filter(({ variant }) => variant.isTail && variant.nodes <= 24);
  return shared.flatMap((found) =>
    ["bursts", "paced"].flatMap((load) => {
      const { ratio, p50, p99 } = found[load];
      const aims = [
        ...(found === shared.at(-1) ? [["mongod against one node", ratio, 1.3, "×"]] : []),
        ["delay p50", p50, 1, "ms"],
        ["delay p99", p99, 10, "ms"],
      ];
      return aims.map(([what, value, most, unit]) => {
        const verdict = value <= most ? "met" : "MISSED";
        return `- ${verdict}: ${nameOf(found.variant)}, ${load}: ${what} ${shown(value)} ${unit}, wanted at most ${most}`;
      });
    }),
  );
}

export const tablesOf = (rows) => ({
  bursts: tableOf(rows, "bursts"),
  paced: tableOf(rows, "paced"),
  idle: idleTableOf(rows),
});

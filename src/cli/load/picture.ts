/** The result of a run as a picture: percentiles and throughput over time, as SVG. */
import { type LoadResult, ms, number, PHASES, type Second } from "./result.ts";

const WIDTH = 920;
const LEFT = 64;
const RIGHT = 150;
const PLOT_WIDTH = WIDTH - LEFT - RIGHT;
const PANEL_HEIGHT = 180;
const FIRST_TOP = 112;
const GAP = 56;
const HEIGHT = FIRST_TOP + 3 * PANEL_HEIGHT + 2 * GAP + 48;

const INK = "#1f2933";
const FAINT = "#8a94a0";
const GRID = "#e4e8ec";
const PHASE_FILLS = { ramp: "#f3f6f9", "warm-up": "#f8f6ef", measure: "#ffffff", settle: "#f3f6f9" } as const;
const BLUE = "#1d6fa5";
const ORANGE = "#c8641b";
const RED = "#b3261e";
const GREEN = "#2f7d4f";

interface Line {
  readonly name: string;
  readonly colour: string;
  readonly value: (second: Second) => number | null;
}

interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  /** A logarithmic scale shows the middle and the worst case in one picture. */
  readonly isLogarithmic: boolean;
}

const PANELS: readonly Panel[] = [
  {
    title: "delivery time, ms (logarithmic)",
    isLogarithmic: true,
    lines: [
      { name: "maximum", colour: RED, value: ({ max }) => max },
      { name: "p99", colour: ORANGE, value: ({ p99 }) => p99 },
      { name: "p50", colour: BLUE, value: ({ p50 }) => p50 },
    ],
  },
  {
    title: "deliveries per second",
    isLogarithmic: false,
    lines: [{ name: "deliveries", colour: BLUE, value: ({ deliveriesPerSecond }) => deliveriesPerSecond }],
  },
  {
    title: "connections",
    isLogarithmic: false,
    lines: [{ name: "connected", colour: GREEN, value: ({ connected }) => connected }],
  },
];

/** @returns An SVG document. */
export function pictureOf(result: LoadResult): string {
  const { series } = result;
  const last = Math.max(1, series.at(-1)?.seconds ?? 1);
  const x = (seconds: number) => LEFT + (seconds / last) * PLOT_WIDTH;
  const panels = PANELS.map((panel, at) =>
    drawPanel(panel, series, x, FIRST_TOP + at * (PANEL_HEIGHT + GAP)),
  );
  const bottom = FIRST_TOP + PANELS.length * (PANEL_HEIGHT + GAP) - GAP;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="${INK}" role="img" aria-label="Load test of Tidewire">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    ...drawHead(result),
    ...panels,
    ...drawTimes(last, x, bottom),
    "</svg>",
    "",
  ].join("\n");
}

function drawHead({
  connections,
  writes,
  counts,
  delivery,
  connect,
  snapshot,
  failures,
}: LoadResult): string[] {
  const time = (name: string, summary: LoadResult["connect"]) =>
    summary === null ? `${name}: none` : `${name}: p50 ${ms(summary.p50)} ms, p99 ${ms(summary.p99)} ms`;
  const verdict = failures.length === 0 ? "OK" : `FAILED: ${failures.join("; ")}`;
  const rate = writes === null ? "" : ` · ${number(writes.writes)} writes`;
  return [
    text(LEFT, 28, `${number(connections)} users${rate} · ${number(counts.received)} deliveries`, {
      size: 17,
      weight: 600,
    }),
    text(
      LEFT,
      48,
      [time("connect", connect), time("first result", snapshot), time("delivery", delivery)].join("   ·   "),
    ),
    text(
      LEFT,
      66,
      `${verdict} · lost ${number(counts.lost)}, repeated ${number(counts.repeated)}, out of order ${number(counts.outOfOrder)}`,
      { colour: failures.length === 0 ? GREEN : RED, weight: 600 },
    ),
  ];
}

function drawPanel(
  { title, lines, isLogarithmic }: Panel,
  series: readonly Second[],
  x: (seconds: number) => number,
  top: number,
): string {
  const values = lines.flatMap(({ value }) => series.map(value)).filter((value) => value !== null);
  const ticks = isLogarithmic ? decades(values) : evenTicks(Math.max(0, ...values));
  const [lowest = 0, highest = 1] = [ticks[0], ticks.at(-1)];
  const scale = isLogarithmic ? Math.log10 : (value: number) => value;
  const share = (value: number) =>
    (scale(Math.max(value, lowest)) - scale(lowest)) / (scale(highest) - scale(lowest) || 1);
  const y = (value: number) => top + PANEL_HEIGHT * (1 - share(value));
  return [
    text(LEFT, top - 10, title, { weight: 600 }),
    ...drawPhases(series, x, top),
    ...ticks.flatMap((tick) => [
      `<line x1="${LEFT}" x2="${LEFT + PLOT_WIDTH}" y1="${round(y(tick))}" y2="${round(y(tick))}" stroke="${GRID}"/>`,
      text(LEFT - 8, y(tick) + 4, number(tick), { anchor: "end", colour: FAINT }),
    ]),
    ...lines.map((line) => drawLine(line, series, x, y)),
    ...drawLegend(lines, top),
  ].join("\n");
}

/** A phase ends where the next one begins. */
function drawPhases(series: readonly Second[], x: (seconds: number) => number, top: number): string[] {
  return PHASES.flatMap((phase) => {
    const own = series.filter((second) => second.phase === phase);
    const [first, last] = [own[0], own.at(-1)];
    if (first === undefined || last === undefined) return [];
    const from = x(Math.max(0, first.seconds - 1));
    const width = x(last.seconds) - from;
    const label = width > phase.length * 7 ? [text(from + 4, top + 14, phase, { colour: FAINT })] : [];
    return [
      `<rect x="${round(from)}" y="${top}" width="${round(width)}" height="${PANEL_HEIGHT}" fill="${PHASE_FILLS[phase]}"/>`,
      ...label,
    ];
  });
}

function drawLine(
  { colour, value }: Line,
  series: readonly Second[],
  x: (seconds: number) => number,
  y: (value: number) => number,
): string {
  let isDown = false;
  const path = series.flatMap((second) => {
    const found = value(second);
    const command = isDown ? "L" : "M";
    isDown = found !== null;
    return found === null ? [] : [`${command}${round(x(second.seconds))} ${round(y(found))}`];
  });
  return `<path d="${path.join("")}" fill="none" stroke="${colour}" stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round"/>`;
}

function drawLegend(lines: readonly Line[], top: number): string[] {
  const left = LEFT + PLOT_WIDTH + 16;
  return lines.flatMap(({ name, colour }, at) => {
    const y = top + 14 + at * 20;
    return [
      `<line x1="${left}" x2="${left + 18}" y1="${y - 4}" y2="${y - 4}" stroke="${colour}" stroke-width="2.5"/>`,
      text(left + 24, y, name),
    ];
  });
}

function drawTimes(last: number, x: (seconds: number) => number, bottom: number): string[] {
  const ticks = evenTicks(last, 10).filter((tick) => tick <= last);
  return [
    ...ticks.map((tick) => text(x(tick), bottom + 20, String(tick), { anchor: "middle", colour: FAINT })),
    text(LEFT + PLOT_WIDTH / 2, bottom + 38, "seconds since the start", { anchor: "middle", colour: FAINT }),
  ];
}

/** Powers of ten around the values. */
function decades(values: readonly number[]): number[] {
  const positive = values.filter((value) => value > 0);
  if (positive.length === 0) return [1, 10];
  const from = Math.floor(Math.log10(Math.min(...positive)));
  const to = Math.max(from + 1, Math.ceil(Math.log10(Math.max(...positive))));
  return Array.from({ length: to - from + 1 }, (_tick, at) => 10 ** (from + at));
}

/** About `count` round numbers from 0 to at least `highest`. */
function evenTicks(highest: number, count = 5): number[] {
  const rough = Math.max(highest, 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power);
  return Array.from({ length: Math.ceil(Math.max(highest, 1) / step) + 1 }, (_tick, at) => at * step);
}

interface TextStyle {
  readonly size?: number;
  readonly weight?: number;
  readonly colour?: string;
  readonly anchor?: "middle" | "end";
}

function text(
  x: number,
  y: number,
  content: string,
  { size, weight, colour, anchor }: TextStyle = {},
): string {
  const attributes = [
    size === undefined ? "" : ` font-size="${size}"`,
    weight === undefined ? "" : ` font-weight="${weight}"`,
    colour === undefined ? "" : ` fill="${colour}"`,
    anchor === undefined ? "" : ` text-anchor="${anchor}"`,
  ].join("");
  return `<text x="${round(x)}" y="${round(y)}"${attributes}>${escapeXml(content)}</text>`;
}

const round = (value: number) => Math.round(value * 10) / 10;
const escapeXml = (content: string) =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

import { type ReactNode, useEffect, useRef } from "react";
import UPlot from "uplot";

interface LineChartProps {
  /** Read instead of the picture. */
  readonly label: string;
  /** In epoch seconds. */
  readonly times: readonly number[];
  readonly values: readonly number[];
  /** A custom property of the page. */
  readonly color: string;
  readonly textOf: (value: number) => string;
}

const HEIGHT = 132;
/** The time that a chart shows, in seconds. */
const SPAN_S = 15 * 60;
const AXIS_WIDTH = 62;
const FONT = "11px system-ui, sans-serif";

/** A line over time. It is drawn on a canvas, so that its colors are read from the page whenever it is drawn. */
export function LineChart({ label, times, values, color, textOf }: LineChartProps): ReactNode {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<UPlot | null>(null);
  const format = useRef(textOf);
  format.current = textOf;
  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const made = makeChart(element, color, (value) => format.current(value));
    chart.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    const redraw = () => made.redraw(false);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", redraw);
    const themed = new MutationObserver(redraw);
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      scheme.removeEventListener("change", redraw);
      themed.disconnect();
      resized.disconnect();
      made.destroy();
    };
  }, [color]);
  useEffect(() => {
    chart.current?.setData([[...times], [...values]]);
  }, [times, values]);
  return <div className="chart" ref={host} role="img" aria-label={label} />;
}

function makeChart(element: HTMLElement, color: string, textOf: (value: number) => string): UPlot {
  const paint = (name: string) => () => colorOf(element, name);
  const axis = {
    stroke: paint("--muted"),
    font: FONT,
    grid: { stroke: paint("--line"), width: 1 },
    ticks: { show: false },
  };
  return new UPlot(
    {
      width: Math.max(1, element.clientWidth),
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { range: (_chart, _min, max) => [max - SPAN_S, max] },
        y: { range: (_chart, _min, max) => [0, Math.max(1, max * 1.15)] },
      },
      axes: [
        { ...axis, space: 90, size: 26, values: (_chart, ticks) => ticks.map((tick) => clockOf(tick)) },
        {
          ...axis,
          size: AXIS_WIDTH,
          space: 34,
          values: (_chart, ticks) => ticks.map((tick) => textOf(tick)),
        },
      ],
      series: [{}, { stroke: paint(color), width: 2, points: { show: false } }],
    },
    [[], []],
    element,
  );
}

const clockOf = (seconds: number): string =>
  new Date(seconds * 1_000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/** A canvas knows neither custom properties nor `light-dark()`. */
function colorOf(element: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

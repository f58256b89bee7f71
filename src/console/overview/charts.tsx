import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { Hint } from "../ui/hint.tsx";
import { rate } from "../ui/numbers.ts";
import { LineChart } from "./line-chart.tsx";

type Samples = AnswerOf<"overview">["samples"];
type Sample = Samples[number];

interface ChartOf {
  readonly title: string;
  readonly hint: string;
  readonly color: string;
  readonly read: (sample: Sample) => number;
  readonly textOf: (value: number) => string;
}

const whole = (value: number) => Math.round(value).toLocaleString("en");

const CHARTS: readonly ChartOf[] = [
  {
    title: "Deliveries",
    hint: "Messages with changes that were handed to connections, per second.",
    color: "--accent",
    read: ({ deliveriesPerSecond }) => deliveriesPerSecond,
    textOf: rate,
  },
  {
    title: "Errors",
    hint: "Errors that were sent to clients, per second.",
    color: "--bad",
    read: ({ errorsPerSecond }) => errorsPerSecond,
    textOf: rate,
  },
  {
    title: "Connections",
    hint: "Authenticated clients.",
    color: "--accent",
    read: ({ connections }) => connections,
    textOf: whole,
  },
  {
    title: "Subscriptions",
    hint: "Active subscriptions.",
    color: "--accent",
    read: ({ subscriptions }) => subscriptions,
    textOf: whole,
  },
  {
    title: "Live queries",
    hint: "Different live queries.",
    color: "--accent",
    read: ({ liveQueries }) => liveQueries,
    textOf: whole,
  },
];

/** The load of the nodes of this listener over the last 15 minutes. */
export default function Charts({ samples }: { readonly samples: Samples }): ReactNode {
  const last = samples.at(-1);
  if (last === undefined)
    return (
      <p className="notice">
        The charts begin with the first sample, a few seconds after the node has started.
      </p>
    );
  const times = samples.map(({ at }) => Date.parse(at) / 1_000);
  return (
    <section aria-labelledby="load">
      <h2 id="load">Load of this node and its workers, last 15 minutes</h2>
      <div className="charts">
        {CHARTS.map(({ title, hint, color, read, textOf }) => (
          <figure className="panel" key={title}>
            <figcaption>
              <Hint text={hint}>{title}</Hint>
              <strong>{textOf(read(last))}</strong>
            </figcaption>
            <LineChart
              label={`${title}, now ${textOf(read(last))}, at most ${textOf(Math.max(...samples.map(read)))}`}
              times={times}
              values={samples.map(read)}
              color={color}
              textOf={textOf}
            />
          </figure>
        ))}
      </div>
    </section>
  );
}

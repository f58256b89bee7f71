import type { ReactNode } from "react";
import { Hint } from "../ui/hint.tsx";
import { count } from "../ui/numbers.ts";
import { Scroll } from "../ui/scroll.tsx";
import { AffectedUsers } from "./affected-users.tsx";
import { type Effects, rulesText, SERIOUS } from "./effects.ts";
import type { Plan } from "./problem.ts";

type Live = Plan["live"];

/** The serious ones first: a phone shows two or three of them. */
const COLUMNS: readonly (readonly [keyof Effects, string])[] = [
  ["ends", "Subscriptions that end, because no rule allows them any more."],
  ["loses", "Subscriptions that show fewer documents or fields."],
  ["changes", "Subscriptions that show other documents or fields: some appear and some disappear."],
  ["gains", "Subscriptions that show more documents or fields."],
  ["unknown", "Subscriptions whose effect depends on a lookup that was not read yet."],
  ["unchanged", "Subscriptions that show the same documents and fields."],
];

/** The effect of a draft on the subscriptions of this moment. */
export function EffectTable({ live }: { readonly live: Live }): ReactNode {
  if (live.subscriptions === 0)
    return <p className="hint">Nobody has a subscription now, so that no effect on users can be shown.</p>;
  const columns = COLUMNS.filter(
    ([effect]) => effect === "unchanged" || live.collections.some(({ effects }) => effects[effect] > 0),
  );
  return (
    <>
      <h3>
        {count(live.subscriptions, "subscription")} of {count(live.connections, "connection")} now
      </h3>
      <Scroll label="Subscriptions by effect">
        <table className="effects">
          <thead>
            <tr>
              <th scope="col">Collection, rule</th>
              {columns.map(([effect, text]) => (
                <th scope="col" key={effect} className="number">
                  <Hint text={text}>{effect}</Hint>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {live.collections.flatMap(({ collection, effects, rules }) => [
              <Row
                key={collection}
                label={<code>{collection}</code>}
                effects={effects}
                columns={columns}
                isTotal
              />,
              ...rules.map(({ from, to, effects: own }) => (
                <Row
                  key={`${collection} ${from} ${to}`}
                  label={rulesText({ from, to })}
                  effects={own}
                  columns={columns}
                />
              )),
            ])}
          </tbody>
        </table>
      </Scroll>
      <AffectedUsers users={live.affected} />
      <p className="hint">
        {count(live.newLiveQueries, "live query", "live queries")} would be new. Each reads one snapshot from
        MongoDB.
      </p>
    </>
  );
}

interface RowProps {
  readonly label: ReactNode;
  readonly effects: Effects;
  readonly columns: typeof COLUMNS;
  readonly isTotal?: boolean;
}

const Row = ({ label, effects, columns, isTotal = false }: RowProps): ReactNode => (
  <tr className={isTotal ? "total" : undefined}>
    <th scope="row">{label}</th>
    {columns.map(([effect]) => (
      <td
        key={effect}
        className={SERIOUS.has(effect) && effects[effect] > 0 ? "number serious" : "number"}
        data-none={effects[effect] === 0 ? "" : undefined}
      >
        {effects[effect].toLocaleString("en")}
      </td>
    ))}
  </tr>
);

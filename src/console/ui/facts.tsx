import type { ReactNode } from "react";

/** Names and their values. */
export const Facts = ({ rows }: { readonly rows: readonly (readonly [string, ReactNode])[] }): ReactNode => (
  <dl className="facts">
    {rows.map(([name, value]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </div>
    ))}
  </dl>
);

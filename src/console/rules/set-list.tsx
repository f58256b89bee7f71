import type { ReactNode } from "react";
import { dateTime } from "../ui/times.ts";
import type { Conflict } from "./use-edit.ts";

/** The edits of others, latest first. */
export const SetList = ({ sets }: { readonly sets: Conflict["since"] }): ReactNode => (
  <ul className="parts">
    {sets.map(({ number, author, message, at }) => (
      <li key={number}>
        <span className="badge accent">set {number}</span> <strong>{author}</strong>{" "}
        <span className="hint">{dateTime(at)}</span>
        <p>{message}</p>
      </li>
    ))}
  </ul>
);

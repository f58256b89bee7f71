import type { ReactNode } from "react";
import { TryField } from "./try-field.tsx";
import type { TryForm } from "./try-request.ts";

const SOURCES: readonly (readonly [TryForm["from"], string])[] = [
  ["claims", "Claims or a token"],
  ["connection", "A live connection"],
];

interface FieldProps {
  readonly value: string;
  readonly fault: string | undefined;
  readonly onValue: (value: string) => void;
}

interface UserFieldsProps {
  readonly from: TryForm["from"];
  readonly onFrom: (from: TryForm["from"]) => void;
  readonly field: (name: "user" | "connection") => FieldProps;
}

/** Chooses the user of a try. */
export const UserFields = ({ from, onFrom, field }: UserFieldsProps): ReactNode => (
  <div className="stack">
    <fieldset className="choice">
      <legend>As</legend>
      {SOURCES.map(([name, title]) => (
        <label key={name}>
          <input type="radio" name="from" checked={from === name} onChange={() => onFrom(name)} />
          <span>{title}</span>
        </label>
      ))}
    </fieldset>
    {from === "claims" ? (
      <TryField
        {...field("user")}
        title="User"
        rows={6}
        hint="The claims as JSON, or a token: the page reads its claims and sends nothing else of it. Empty: an anonymous user."
      />
    ) : (
      <TryField
        {...field("connection")}
        title="Connection"
        hint="The id, as Connections shows it. The node uses the claims of its user, as long as it is connected."
      />
    )}
  </div>
);

import { type ReactNode, useId } from "react";

interface TryFieldProps {
  readonly title: string;
  readonly hint: string;
  readonly value: string;
  readonly fault: string | undefined;
  /** Several lines. */
  readonly rows?: number;
  /** Whether `/` leads here. */
  readonly isSearch?: boolean;
  readonly onValue: (value: string) => void;
}

/** A field of the form, with its hint and its mistake. */
export function TryField({
  title,
  hint,
  value,
  fault,
  rows,
  isSearch = false,
  onValue,
}: TryFieldProps): ReactNode {
  const id = useId();
  const common = {
    id,
    value,
    spellCheck: false,
    "aria-describedby": `${id}-hint`,
    "aria-invalid": fault !== undefined,
    "data-search": isSearch ? "" : undefined,
  };
  return (
    <div className="field">
      <label htmlFor={id}>{title}</label>
      {rows === undefined ? (
        <input {...common} onChange={({ target }) => onValue(target.value)} />
      ) : (
        <textarea {...common} rows={rows} onChange={({ target }) => onValue(target.value)} />
      )}
      <p id={`${id}-hint`} className="hint">
        {fault === undefined ? hint : <span className="bad">This has to be {fault}.</span>}
      </p>
    </div>
  );
}

import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { goTo } from "../shell/route.ts";

/** A field of a search. */
interface Field {
  readonly name: string;
  readonly title: string;
}

interface SearchFormProps {
  readonly view: string;
  readonly fields: readonly Field[];
  /** The search in the address. */
  readonly values: Readonly<Record<string, string>>;
  readonly children?: ReactNode;
}

/** A search, which the address holds, so that it can be shared and is there after a reload. */
export function SearchForm({ view, fields, values, children }: SearchFormProps): ReactNode {
  const [edited, setEdited] = useState(values);
  const key = JSON.stringify(values);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says whether the values are others.
  useEffect(() => setEdited(values), [key]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    goTo(view, edited);
  };
  const isSearch = fields.some(({ name }) => (values[name] ?? "") !== "");
  return (
    <search>
      <form className="search" onSubmit={submit}>
        {fields.map(({ name, title }, at) => (
          <label key={name}>
            <span>{title}</span>
            <input
              type="search"
              value={edited[name] ?? ""}
              data-search={at === 0 ? "" : undefined}
              onChange={({ target }) => setEdited({ ...edited, [name]: target.value })}
            />
          </label>
        ))}
        {children}
        <button type="submit">Search</button>
        {isSearch ? (
          <button type="button" className="quiet" onClick={() => goTo(view)}>
            Show all
          </button>
        ) : null}
      </form>
    </search>
  );
}

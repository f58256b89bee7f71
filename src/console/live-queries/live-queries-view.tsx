import { type ReactNode, useCallback, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { goTo, useFields } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import type { Column } from "../ui/data-table.tsx";
import { Empty } from "../ui/empty.tsx";
import { ListView } from "../ui/list-view.tsx";
import { bytes, duration } from "../ui/numbers.ts";
import { Page } from "../ui/page.tsx";
import { SearchForm } from "../ui/search-form.tsx";
import { type LoadPage, usePages } from "../ui/use-pages.ts";
import { LiveQueryDialog } from "./live-query-dialog.tsx";

type Row = AnswerOf<"liveQueries">["liveQueries"][number];

const SORTS = [
  ["cost", "Cost"],
  ["bytes", "Memory"],
  ["subscribers", "Subscribers"],
  ["id", "Id"],
] as const;

const columnsOf = (onOpen: (id: string) => void): readonly Column<Row>[] => [
  {
    title: "Collection",
    hint: "The database and the collection in MongoDB.",
    share: 4,
    cell: ({ id, namespace }) => (
      <button type="button" className="link" onClick={() => onOpen(id)}>
        {namespace}
      </button>
    ),
  },
  {
    title: "Filter",
    hint: "The beginning of the effective filter, with the rule and the claims in it.",
    share: 7,
    cell: ({ filter }) => <code>{filter}</code>,
  },
  {
    title: "Subscribers",
    hint: "Connections that follow it. Without any it lingers for a moment.",
    isNumber: true,
    share: 2,
    cell: ({ subscribers }) => subscribers.toLocaleString("en"),
  },
  {
    title: "Cost",
    hint: "Mean time that the node works on one commit that concerns it. 0 ms: it was always cheap.",
    isNumber: true,
    share: 2,
    cell: ({ costMs }) => duration(costMs),
  },
  {
    title: "Memory",
    hint: "Memory of its result. An unsorted result needs none.",
    isNumber: true,
    share: 2,
    cell: ({ heldBytes }) => bytes(heldBytes),
  },
  {
    title: "Resets",
    hint: "Resets of its present subscribers: each read the whole result again.",
    isNumber: true,
    share: 2,
    cell: ({ resets }) => resets.toLocaleString("en"),
  },
  {
    title: "Matching",
    hint: "indexed: commits find it by a value. every commit: it is matched with each commit, which costs time.",
    share: 4,
    cell: ({ isIndexed }) => (
      <span className={isIndexed ? "badge good" : "badge warn"}>
        {isIndexed ? "indexed" : "every commit"}
      </span>
    ),
  },
];

/** The live queries of this node: what each one costs. */
export default function LiveQueriesView(): ReactNode {
  const { api } = useSession();
  const search = useFields();
  const { collection = "" } = search;
  const sort = SORTS.find(([name]) => name === search["sort"])?.[0] ?? "cost";
  const load = useCallback<LoadPage<Row>>(
    async (after, signal) => {
      const fields = { limit: 200, after: after ?? undefined, sort, collection };
      const { liveQueries, next } = await api.call("liveQueries", fields, { signal });
      return { rows: liveQueries, next };
    },
    [api, sort, collection],
  );
  const [opened, setOpened] = useState<string | null>(null);
  return (
    <Page
      title="Live queries"
      lead="Subscriptions with the same effective filter share one live query. Open one to see its filter, and whether an index serves its snapshot."
    >
      <SearchForm
        view="live-queries"
        fields={[{ name: "collection", title: "Collection" }]}
        values={{ collection, ...(sort === "cost" ? {} : { sort }) }}
      >
        <label>
          <span>Largest first by</span>
          <select
            value={sort}
            onChange={({ target }) => goTo("live-queries", { collection, sort: target.value })}
          >
            {SORTS.map(([name, title]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
      </SearchForm>
      <ListView
        label="Live queries"
        unit={["live query", "live queries"]}
        columns={columnsOf(setOpened)}
        pages={usePages(load)}
        keyOf={({ id }) => id}
        empty={
          collection === "" ? (
            <Empty title="Nobody follows anything">
              A live query exists while a client subscribes to it.
            </Empty>
          ) : (
            <Empty title="No live query matches">The search compares the whole name of the collection.</Empty>
          )
        }
      />
      <LiveQueryDialog id={opened} onClose={() => setOpened(null)} />
    </Page>
  );
}

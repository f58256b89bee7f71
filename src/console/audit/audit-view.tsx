import { type ReactNode, useCallback } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useFields } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import type { Column } from "../ui/data-table.tsx";
import { Empty } from "../ui/empty.tsx";
import { ListView } from "../ui/list-view.tsx";
import { Page } from "../ui/page.tsx";
import { SearchForm } from "../ui/search-form.tsx";
import { dateTime } from "../ui/times.ts";
import { type LoadPage, usePages } from "../ui/use-pages.ts";

type Entry = AnswerOf<"audit">["entries"][number];

const targetText = ({ target }: Entry): string =>
  Object.entries(target)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}`)
    .join(", ");

const COLUMNS: readonly Column<Entry>[] = [
  {
    title: "Time",
    hint: "When the act was recorded, in the time zone of this browser. It happened right after.",
    share: 4,
    cell: ({ at }) => dateTime(at),
  },
  {
    title: "Admin",
    hint: "The name of the token, or the sub of the JWT.",
    share: 3,
    cell: ({ admin }) => admin,
  },
  {
    title: "Act",
    hint: "The kind of the act.",
    share: 3,
    cell: ({ act }) => <span className="badge accent">{act}</span>,
  },
  {
    title: "Target",
    hint: "The connection, user or token that the act was about.",
    share: 10,
    cell: (entry) => <span title={targetText(entry)}>{targetText(entry)}</span>,
  },
  { title: "From", hint: "The address from which the admin asked.", share: 3, cell: ({ from }) => from },
  { title: "Node", hint: "The node on which the admin asked.", share: 3, cell: ({ node }) => node },
];

const FIELDS = [
  { name: "admin", title: "Admin" },
  { name: "act", title: "Act" },
];

/** The acts of admins. */
export default function AuditView(): ReactNode {
  const { api } = useSession();
  const search = useFields();
  const { admin = "", act = "" } = search;
  const load = useCallback<LoadPage<Entry>>(
    async (before, signal) => {
      const fields = { limit: 200, before: before ?? undefined, admin, act };
      const { entries, next } = await api.call("audit", fields, { signal });
      return { rows: entries, next };
    },
    [api, admin, act],
  );
  return (
    <Page
      title="Audit"
      lead="Every act of an admin, the latest first. Each entry is written before its act happens. Nobody can edit it here."
    >
      <SearchForm view="audit" fields={FIELDS} values={search} />
      <ListView
        label="Acts"
        unit={["act", "acts"]}
        columns={COLUMNS}
        pages={usePages(load)}
        keyOf={({ id }) => id}
        empty={
          admin !== "" || act !== "" ? (
            <Empty title="No act matches">
              The search compares whole values: the exact name of an admin, or an act such as{" "}
              <code>disconnect</code>.
            </Empty>
          ) : (
            <Empty title="No admin has acted yet">
              Disconnect or re-authorize a connection: the act appears here.
            </Empty>
          )
        }
      />
    </Page>
  );
}

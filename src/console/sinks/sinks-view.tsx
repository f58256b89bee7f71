import { type ReactNode, useCallback, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import type { Column } from "../ui/data-table.tsx";
import { Empty } from "../ui/empty.tsx";
import { ListView } from "../ui/list-view.tsx";
import { Page } from "../ui/page.tsx";
import { ago } from "../ui/times.ts";
import { type LoadPage, usePages } from "../ui/use-pages.ts";
import { SinkDialog } from "./sink-dialog.tsx";
import { SinkState } from "./sink-state.tsx";

type Row = AnswerOf<"sinks">["sinks"][number];

const columnsOf = (onOpen: (name: string) => void): readonly Column<Row>[] => [
  {
    title: "Sink",
    hint: "Its name in the configuration.",
    share: 4,
    cell: ({ name }) => (
      <button type="button" className="link" title={name} onClick={() => onOpen(name)}>
        {name}
      </button>
    ),
  },
  {
    title: "State",
    hint: "trouble: nothing is sent at the moment, and the sink tries again. disabled: the target wants no more.",
    share: 2.5,
    cell: ({ state }) => <SinkState state={state} />,
  },
  {
    title: "Collection",
    hint: "The collection whose changes it sends.",
    share: 3.5,
    cell: ({ collection }) => <span title={collection}>{collection}</span>,
  },
  { title: "Target", hint: "The kind of the receiver.", share: 2, cell: ({ target }) => target },
  {
    title: "Delivered",
    hint: "Messages that the target has accepted.",
    isNumber: true,
    share: 2.6,
    cell: ({ delivered }) => delivered.toLocaleString("en"),
  },
  {
    title: "Parked",
    hint: "Messages that the target has refused until the last attempt.",
    isNumber: true,
    share: 1.6,
    cell: ({ parked }) =>
      parked === 0 ? "0" : <span className="badge warn">{parked.toLocaleString("en")}</span>,
  },
  {
    title: "Waiting",
    hint: "Messages in the state database, which wait for the target or for their next attempt.",
    isNumber: true,
    share: 1.8,
    cell: ({ spooledMessages }) => spooledMessages.toLocaleString("en"),
  },
  {
    title: "Oldest",
    hint: "When the oldest waiting message arrived.",
    share: 2,
    cell: ({ oldestAt }) => (oldestAt === null ? "–" : ago(oldestAt, Date.now())),
  },
];

/** The sinks of the configuration. */
export default function SinksView(): ReactNode {
  const { api } = useSession();
  const load = useCallback<LoadPage<Row>>(
    async (_after, signal) => ({ rows: (await api.call("sinks", {}, { signal })).sinks, next: null }),
    [api],
  );
  const pages = usePages(load);
  const [opened, setOpened] = useState<string | null>(null);
  return (
    <Page
      title="Sinks"
      lead="Receivers that keep no connection. One node of the fleet runs each sink, and another one takes it over."
    >
      <ListView
        label="Sinks"
        unit={["sink", "sinks"]}
        columns={columnsOf(setOpened)}
        pages={pages}
        keyOf={({ name }) => name}
        empty={
          <Empty title="There are no sinks">
            A sink sends the changes of a result to a webhook or a broker. Add one to the section{" "}
            <code>sinks</code> of the configuration, and restart the nodes.
          </Empty>
        }
      />
      <SinkDialog
        sink={pages.rows.find(({ name }) => name === opened) ?? null}
        onClose={() => setOpened(null)}
        onActed={pages.reload}
      />
    </Page>
  );
}

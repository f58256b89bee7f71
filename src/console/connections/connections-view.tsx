import { type ReactNode, useCallback, useEffect, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useFields } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import type { Column } from "../ui/data-table.tsx";
import { Empty } from "../ui/empty.tsx";
import { ListView } from "../ui/list-view.tsx";
import { bytes } from "../ui/numbers.ts";
import { Page } from "../ui/page.tsx";
import { SearchForm } from "../ui/search-form.tsx";
import { ago } from "../ui/times.ts";
import { type LoadPage, type Pages, usePages } from "../ui/use-pages.ts";
import { ConnectionDialog } from "./connection-dialog.tsx";

type Row = AnswerOf<"connections">["connections"][number];

const FIELDS = [
  { name: "sub", title: "User (sub)" },
  { name: "address", title: "Address" },
  { name: "collection", title: "Collection" },
];

const columnsOf = (onOpen: (id: string) => void): readonly Column<Row>[] => [
  {
    title: "User",
    hint: "The sub of the token. Anonymous users have none.",
    share: 3,
    cell: ({ id, sub }) => (
      <button type="button" className="link" onClick={() => onOpen(id)}>
        {sub ?? "anonymous"}
      </button>
    ),
  },
  {
    title: "Address",
    hint: "The network address of the client, as trusted proxies report it.",
    share: 3,
    cell: ({ address }) => address,
  },
  {
    title: "Transport",
    hint: "ws: WebSocket; sse: server-sent events; poll: long polling.",
    share: 2,
    cell: ({ transport }) => transport,
  },
  {
    title: "Client",
    hint: "The name and version that the client reports about itself.",
    share: 3,
    cell: ({ client }) => client ?? "–",
  },
  {
    title: "Connected",
    hint: "The time since the token of the client was verified.",
    share: 2,
    cell: ({ connectedAt }) => (connectedAt === null ? "not yet" : ago(connectedAt, Date.now())),
  },
  {
    title: "Subscriptions",
    hint: "Active subscriptions of the connection.",
    isNumber: true,
    share: 2,
    cell: ({ subscriptions }) => subscriptions.toLocaleString("en"),
  },
  {
    title: "Outbox",
    hint: "Bytes that wait in the node until the client reads. More than limits.outboxBytes ends the connection.",
    isNumber: true,
    share: 2,
    cell: ({ outboxBytes }) => bytes(outboxBytes),
  },
  {
    title: "State",
    hint: "behind: changes are still to be sent, or rights are still to be decided.",
    share: 2,
    cell: ({ isBehind }) => (
      <span className={isBehind ? "badge warn" : "badge good"}>{isBehind ? "behind" : "live"}</span>
    ),
  },
];

/** The list is read again so often while a connection is expected to end. */
const LEAVING_MS = 200;
/** A revocation reaches every node within this time, or the list says nothing about it. */
const LEAVING_WITHIN_MS = 10_000;

/**
 * Reads the list again until a connection has left it. An act answers when it has taken effect in the database, and the connection
 * ends a moment later.
 * @returns Begins that for the connection of an id.
 */
function useLeaving({ rows, reload }: Pages<Row>): (id: string) => void {
  const [leaving, setLeaving] = useState<string | null>(null);
  const isListed = rows.some(({ id }) => id === leaving);
  useEffect(() => {
    if (!isListed) return;
    const again = setInterval(reload, LEAVING_MS);
    const giveUp = setTimeout(() => setLeaving(null), LEAVING_WITHIN_MS);
    return () => {
      clearInterval(again);
      clearTimeout(giveUp);
    };
  }, [isListed, reload]);
  return (id) => {
    setLeaving(id);
    reload();
  };
}

/** The connections of this node: who is connected, and what each client follows. */
export default function ConnectionsView(): ReactNode {
  const { api } = useSession();
  const search = useFields();
  const { sub = "", address = "", collection = "" } = search;
  const load = useCallback<LoadPage<Row>>(
    async (after, signal) => {
      const fields = { limit: 200, after: after ?? undefined, sub, address, collection };
      const { connections, next } = await api.call("connections", fields, { signal });
      return { rows: connections, next };
    },
    [api, sub, address, collection],
  );
  const pages = usePages(load);
  const awaitEnd = useLeaving(pages);
  const [opened, setOpened] = useState<string | null>(null);
  const isSearch = sub !== "" || address !== "" || collection !== "";
  return (
    <Page
      title="Connections"
      lead="The clients of this node and its workers. Open one to see its subscriptions, or to act on it."
    >
      <SearchForm view="connections" fields={FIELDS} values={search} />
      <ListView
        label="Connections"
        unit={["connection", "connections"]}
        columns={columnsOf(setOpened)}
        pages={pages}
        keyOf={({ id }) => id}
        empty={
          isSearch ? (
            <Empty title="No connection matches">
              The search compares whole values: the exact sub, address or name of a collection.
            </Empty>
          ) : (
            <Empty title="Nobody is connected">
              Connect a client, for example with <code>tidewire tail --collection NAME --token TOKEN</code>.
              It appears here within seconds.
            </Empty>
          )
        }
      />
      <ConnectionDialog
        id={opened}
        onClose={() => setOpened(null)}
        onActed={() => {
          if (opened !== null) awaitEnd(opened);
        }}
      />
    </Page>
  );
}

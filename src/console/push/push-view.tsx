import { type ReactNode, useCallback, useState } from "react";
import { useFields } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import type { Column } from "../ui/data-table.tsx";
import { Empty } from "../ui/empty.tsx";
import { ListView } from "../ui/list-view.tsx";
import { Page } from "../ui/page.tsx";
import { SearchForm } from "../ui/search-form.tsx";
import { dateTime } from "../ui/times.ts";
import { type LoadPage, usePages } from "../ui/use-pages.ts";
import { PushDialog } from "./push-dialog.tsx";
import { PushState, type Registration } from "./push-state.tsx";

const FIELDS = [{ name: "sub", title: "User (sub)" }];

const columnsOf = (onOpen: (registration: Registration) => void): readonly Column<Registration>[] => [
  {
    title: "User",
    hint: "The sub of the token with which the registration was made.",
    share: 3.8,
    cell: (registration) => (
      <button type="button" className="link" title={registration.sub} onClick={() => onOpen(registration)}>
        {registration.sub}
      </button>
    ),
  },
  {
    title: "State",
    hint: "suspended: the rules do not grant the query, or the token is not accepted. retrying: the push service did not take the waiting notification.",
    share: 2.7,
    cell: (registration) => <PushState registration={registration} />,
  },
  {
    title: "Collection",
    hint: "The name that clients use.",
    share: 3.5,
    cell: ({ collection }) => collection,
  },
  {
    title: "On",
    hint: "The changes of which the user is notified.",
    share: 4.4,
    cell: ({ on }) => on.join(", "),
  },
  {
    title: "Push service",
    hint: "The host to which notifications are sent.",
    share: 4.8,
    cell: ({ pushService }) => <span title={pushService}>{pushService}</span>,
  },
  {
    title: "Expires",
    hint: "The registration ends then, unless the page renews it.",
    share: 2.8,
    // Weeks away, so the day is enough.
    cell: ({ expiresAt }) => <span title={dateTime(expiresAt)}>{dateTime(expiresAt).slice(0, 10)}</span>,
  },
];

/** The push registrations of all users. */
export default function PushView(): ReactNode {
  const { api } = useSession();
  const { sub = "" } = useFields();
  const load = useCallback<LoadPage<Registration>>(
    async (after, signal) => {
      const fields = { limit: 200, after: after ?? undefined, sub };
      const { registrations, next } = await api.call("pushes", fields, { signal });
      return { rows: registrations, next };
    },
    [api, sub],
  );
  const pages = usePages(load);
  const { reload } = pages;
  const [opened, setOpened] = useState<Registration | null>(null);
  return (
    <Page
      title="Push"
      lead="Live queries that go on while no page is open: the service notifies the browser of each change, under the rules of its user."
    >
      <SearchForm view="push" fields={FIELDS} values={{ sub }} />
      <ListView
        label="Push registrations"
        unit={["registration", "registrations"]}
        columns={columnsOf(setOpened)}
        pages={pages}
        keyOf={({ id }) => id}
        empty={
          sub === "" ? (
            <Empty title="There is no push registration">
              Pages make them with <code>tidewire/client/push</code>, once <code>push.vapid</code> is set.
            </Empty>
          ) : (
            <Empty title="No registration matches">The search compares the exact sub.</Empty>
          )
        }
      />
      <PushDialog registration={opened} onClose={() => setOpened(null)} onActed={reload} />
    </Page>
  );
}

import { type ReactNode, useCallback, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useFields } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import { Act } from "../ui/act.tsx";
import type { Column } from "../ui/data-table.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Empty } from "../ui/empty.tsx";
import { ListView } from "../ui/list-view.tsx";
import { Page } from "../ui/page.tsx";
import { SearchForm } from "../ui/search-form.tsx";
import { dateTime } from "../ui/times.ts";
import { type LoadPage, usePages } from "../ui/use-pages.ts";

type Registration = AnswerOf<"pushes">["registrations"][number];

const FIELDS = [{ name: "sub", title: "User (sub)" }];

/** The state in a word, and whether it needs attention. */
function stateOf({ suspended, attempts }: Registration): readonly [text: string, tone: "good" | "warn"] {
  if (suspended !== null) return [`suspended: ${suspended}`, "warn"];
  return attempts === null || attempts === 0 ? ["active", "good"] : [`failed ${attempts} times`, "warn"];
}

const columnsOf = (onOpen: (registration: Registration) => void): readonly Column<Registration>[] => [
  {
    title: "User",
    hint: "The sub of the token with which the registration was made.",
    share: 3,
    cell: (registration) => (
      <button type="button" className="link" onClick={() => onOpen(registration)}>
        {registration.sub}
      </button>
    ),
  },
  { title: "Collection", hint: "The name that clients use.", share: 3, cell: ({ collection }) => collection },
  {
    title: "On",
    hint: "The changes of which the user is notified.",
    share: 3,
    cell: ({ on }) => on.join(", "),
  },
  {
    title: "Push service",
    hint: "The host to which notifications are sent.",
    share: 4,
    cell: ({ pushService }) => pushService,
  },
  {
    title: "State",
    hint: "suspended: the rules do not grant the query, or the token is not accepted. failed: the push service did not take the waiting push.",
    share: 3,
    cell: (registration) => {
      const [text, tone] = stateOf(registration);
      return <span className={`badge ${tone}`}>{text}</span>;
    },
  },
  {
    title: "Expires",
    hint: "The registration ends then, unless the page renews it.",
    share: 3,
    cell: ({ expiresAt }) => dateTime(expiresAt),
  },
];

/** The push registrations of all users. */
export default function PushView(): ReactNode {
  const { api, roles } = useSession();
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
      <Dialog title="Push registration" isOpen={opened !== null} onClose={() => setOpened(null)}>
        {opened === null ? null : roles.has("act") ? (
          <Act
            title="Remove"
            explanation={`Sends ${opened.sub} nothing more for this registration of ${opened.collection}. The page may register again. To end all access of a user, revoke their tokens. Lasts over a restart.`}
            isDangerous
            perform={() => api.call("removePush", { id: opened.id })}
            onDone={reload}
          />
        ) : (
          <p className="hint">To remove it, a token needs the role act.</p>
        )}
      </Dialog>
    </Page>
  );
}

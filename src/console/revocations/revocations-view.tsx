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
import { RevokeForm } from "./revoke-form.tsx";

type Revocation = AnswerOf<"revocations">["revocations"][number];

const FIELDS = [{ name: "sub", title: "User (sub)" }];

const keyOf = ({ sub, iss, jti }: Revocation): string => JSON.stringify([sub, iss, jti]);

const columnsOf = (onOpen: (revocation: Revocation) => void): readonly Column<Revocation>[] => [
  {
    title: "User",
    hint: "The sub of the revoked tokens.",
    share: 4,
    cell: (revocation) => (
      <button type="button" className="link" onClick={() => onOpen(revocation)}>
        {revocation.sub}
      </button>
    ),
  },
  {
    title: "Tokens",
    hint: "All tokens issued until a time, or one token by its jti.",
    share: 5,
    cell: ({ jti, issuedBefore }) =>
      jti === null ? `issued until ${issuedBefore === null ? "–" : dateTime(issuedBefore)}` : `jti ${jti}`,
  },
  { title: "Issuer", hint: "Only tokens of this iss.", share: 3, cell: ({ iss }) => iss ?? "any" },
  {
    title: "Kept until",
    hint: "Afterwards MongoDB removes the entry. Such tokens must have expired by then.",
    share: 4,
    cell: ({ expiresAt }) => dateTime(expiresAt),
  },
];

/** The revoked tokens. */
export default function RevocationsView(): ReactNode {
  const { api, roles } = useSession();
  const { sub = "" } = useFields();
  const load = useCallback<LoadPage<Revocation>>(
    async (after, signal) => {
      const fields = { limit: 200, after: after ?? undefined, sub };
      const { revocations, next } = await api.call("revocations", fields, { signal });
      return { rows: revocations, next };
    },
    [api, sub],
  );
  const pages = usePages(load);
  const { reload } = pages;
  const [opened, setOpened] = useState<Revocation | null>(null);
  const [isRevoking, setIsRevoking] = useState(false);
  const mayAct = roles.has("act");
  return (
    <Page
      title="Revocations"
      lead="Tokens that no node accepts any more. A revocation takes effect at one point of the order of commits, and lasts over restarts."
      actions={
        mayAct ? (
          <button type="button" className="primary" onClick={() => setIsRevoking(true)}>
            Revoke tokens …
          </button>
        ) : undefined
      }
    >
      <SearchForm view="revocations" fields={FIELDS} values={{ sub }} />
      <ListView
        label="Revocations"
        unit={["revocation", "revocations"]}
        columns={columnsOf(setOpened)}
        pages={pages}
        keyOf={keyOf}
        empty={
          sub === "" ? (
            <Empty title="No token is revoked">
              To end the access of a user, revoke their tokens: here, from their connection, or with{" "}
              <code>tidewire revoke --sub SUB</code>.
            </Empty>
          ) : (
            <Empty title="No revocation matches">The search compares the exact sub.</Empty>
          )
        }
      />
      <Dialog title="Revoke tokens" isOpen={isRevoking} onClose={() => setIsRevoking(false)}>
        <RevokeForm onDone={reload} />
      </Dialog>
      <Dialog title="Revocation" isOpen={opened !== null} onClose={() => setOpened(null)}>
        {opened === null ? null : mayAct ? (
          <Act
            title="Undo"
            explanation={`Accepts such tokens of ${opened.sub} again, on all nodes, until they expire. Lasts over a restart.`}
            isDangerous
            perform={() => api.call("undoRevocation", { sub: opened.sub, iss: opened.iss, jti: opened.jti })}
            onDone={reload}
          />
        ) : (
          <p className="hint">To undo it, a token needs the role act.</p>
        )}
      </Dialog>
    </Page>
  );
}

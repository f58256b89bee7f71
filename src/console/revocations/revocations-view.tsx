import { type ReactNode, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { Act } from "../ui/act.tsx";
import { type Column, DataTable } from "../ui/data-table.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Empty } from "../ui/empty.tsx";
import { Failure } from "../ui/failure.tsx";
import { Page } from "../ui/page.tsx";
import { Stale } from "../ui/stale.tsx";
import { dateTime } from "../ui/times.ts";
import { useAnswer } from "../ui/use-answer.ts";
import { RevokeForm } from "./revoke-form.tsx";

type Revocation = AnswerOf<"revocations">["revocations"][number];

const REFRESH_MS = 5_000;

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
  const { value, error, answeredAtMs, reload } = useAnswer("revocations", {}, REFRESH_MS);
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
      {value === null ? (
        error === null ? (
          <p className="starting">Loading …</p>
        ) : (
          <Failure error={error} onRetry={reload} />
        )
      ) : value.revocations.length === 0 ? (
        <Empty title="No token is revoked">
          To end the access of a user, revoke their tokens: here, from their connection, or with{" "}
          <code>tidewire revoke --sub SUB</code>.
        </Empty>
      ) : (
        <>
          <Stale error={error} answeredAtMs={answeredAtMs} />
          {value.isComplete ? null : (
            <p className="notice warn">There are more than these. The API lists at most 10,000.</p>
          )}
          <DataTable
            label="Revocations"
            columns={columnsOf(setOpened)}
            rows={value.revocations}
            keyOf={keyOf}
          />
        </>
      )}
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

import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { hrefOf } from "../shell/address.ts";
import { useSession } from "../shell/session.ts";
import { Act } from "../ui/act.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { Hint } from "../ui/hint.tsx";
import { bytes, count } from "../ui/numbers.ts";
import { Scroll } from "../ui/scroll.tsx";
import { Stale } from "../ui/stale.tsx";
import { dateTime } from "../ui/times.ts";
import { useAnswer } from "../ui/use-answer.ts";

type Connection = AnswerOf<"connection">;

const REFRESH_MS = 2_000;

interface ConnectionDialogProps {
  /** `null`: closed. */
  readonly id: string | null;
  readonly onClose: () => void;
  readonly onActed: () => void;
}

/** One connection, its subscriptions, and the acts on it. */
export const ConnectionDialog = ({ id, onClose, onActed }: ConnectionDialogProps): ReactNode => (
  <Dialog title="Connection" isOpen={id !== null} onClose={onClose} isWide>
    {id === null ? null : <Details id={id} onActed={onActed} />}
  </Dialog>
);

interface DetailsProps {
  readonly id: string;
  readonly onActed: () => void;
}

function Details({ id, onActed }: DetailsProps): ReactNode {
  const { roles } = useSession();
  const { value, error, answeredAtMs } = useAnswer("connection", { id }, REFRESH_MS);
  if (value === null) return error === null ? <p className="hint">Loading …</p> : <Failure error={error} />;
  return (
    <div className="stack">
      <Stale error={error} answeredAtMs={answeredAtMs} />
      <Facts
        rows={[
          ["User (sub)", value.sub ?? "anonymous"],
          ["Address", value.address],
          ["Transport", value.transport],
          ["Client", value.client ?? "does not say"],
          ["Connected", value.connectedAt === null ? "not yet" : dateTime(value.connectedAt)],
          ["Token expires", value.tokenExpiresAt === null ? "–" : dateTime(value.tokenExpiresAt)],
          ["Outbox", bytes(value.outboxBytes)],
          ["Node", value.node],
          ["Id", <code key="id">{value.id}</code>],
        ]}
      />
      <Subscriptions connection={value} />
      <TryLink connection={value} />
      {roles.has("act") ? (
        <Acts connection={value} onActed={onActed} />
      ) : (
        <p className="hint">To trace, disconnect, re-authorize or revoke, a token needs the role act.</p>
      )}
    </div>
  );
}

const Subscriptions = ({ connection: { list } }: { readonly connection: Connection }): ReactNode =>
  list.length === 0 ? (
    <p className="hint">It follows nothing.</p>
  ) : (
    <>
      <h3>{count(list.length, "subscription")}</h3>
      <Scroll label="Subscriptions">
        <table>
          <thead>
            <tr>
              <th scope="col">Collection</th>
              <th scope="col">
                <Hint text="The rule that applies to this user.">Rule</Hint>
              </th>
              <th scope="col">
                <Hint text="The phase of the delivery; deciding while rights are undecided.">State</Hint>
              </th>
              <th scope="col" className="number">
                <Hint text="Commits between the delivery and the head of the change stream.">Lag</Hint>
              </th>
              <th scope="col">Id</th>
            </tr>
          </thead>
          <tbody>
            {list.map(({ id, collection, rule, state, lagCommits }) => (
              <tr key={id}>
                <td>{collection}</td>
                <td>{rule}</td>
                <td>
                  <span className={state === "live" ? "badge good" : "badge warn"}>{state}</span>
                </td>
                <td className="number">{count(lagCommits, "commit")}</td>
                <td>
                  <code>{id}</code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </>
  );

/** Leads to Try with the user of the connection, and the collection that it follows. */
const TryLink = ({ connection: { id, list } }: { readonly connection: Connection }): ReactNode => (
  <p>
    <a href={hrefOf("try", { connection: id, collection: list[0]?.collection ?? "" })}>Try as this client</a>
  </p>
);

interface ActsProps {
  readonly connection: Connection;
  readonly onActed: () => void;
}

function Acts({ connection: { id, sub }, onActed }: ActsProps): ReactNode {
  const { api } = useSession();
  return (
    <div className="acts">
      {sub === null ? null : (
        <div className="act">
          <div>
            <strong>Trace</strong>
            <p className="hint">Shows each change for {sub}, the decision about it, and what is sent.</p>
          </div>
          <a className="button" href={hrefOf("trace", { sub })}>
            Trace this user
          </a>
        </div>
      )}
      <Act
        title="Re-authorize"
        explanation="Applies the rules in force to its subscriptions once more. Does not last: the next edit of the rules does the same."
        perform={() => api.call("reauthorize", { id })}
      />
      <Act
        title="Disconnect"
        explanation="Closes the connection. Does not last: the client may connect again at once."
        isDangerous
        perform={() => api.call("disconnect", { id })}
        onDone={onActed}
      />
      {sub === null ? null : (
        <Act
          title="Revoke tokens"
          explanation={`Refuses every token of ${sub} that was issued until now, on all nodes, for 30 days. Lasts over a restart. A new login works.`}
          isDangerous
          perform={() => api.call("revoke", { sub })}
          onDone={onActed}
        />
      )}
    </div>
  );
}

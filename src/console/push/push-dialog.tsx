import type { ReactNode } from "react";
import { useSession } from "../shell/session.ts";
import { Act } from "../ui/act.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Facts } from "../ui/facts.tsx";
import { count } from "../ui/numbers.ts";
import { dateTime } from "../ui/times.ts";
import { PushState, type Registration } from "./push-state.tsx";

interface PushDialogProps {
  /** `null`: closed. */
  readonly registration: Registration | null;
  readonly onClose: () => void;
  readonly onActed: () => void;
}

/** One push registration, and the act on it. */
export const PushDialog = ({ registration, onClose, onActed }: PushDialogProps): ReactNode => (
  <Dialog title="Push registration" isOpen={registration !== null} onClose={onClose} isWide>
    {registration === null ? null : <Details registration={registration} onActed={onActed} />}
  </Dialog>
);

/** Why nothing arrives at the browser; `null` if nothing is wrong. */
function troubleOf({ suspended, attempts, pushService }: Registration): string | null {
  if (suspended !== null)
    return `Nothing is sent (${suspended}): the rules do not grant the query, or the token of the user is not accepted. The service looks again every minute, and goes on with the changes from then on.`;
  if (attempts === null || attempts === 0) return null;
  return `${pushService} has not taken the waiting notification in ${count(attempts, "attempt")}. The service tries again.`;
}

interface DetailsProps {
  readonly registration: Registration;
  readonly onActed: () => void;
}

function Details({ registration, onActed }: DetailsProps): ReactNode {
  const { api, roles } = useSession();
  const { id, sub, collection, on, pushService, createdAt, expiresAt } = registration;
  const trouble = troubleOf(registration);
  return (
    <div className="stack">
      {trouble === null ? null : <p className="notice warn">{trouble}</p>}
      <Facts
        rows={[
          ["User (sub)", sub],
          ["Collection", collection],
          ["Notified of", on.join(", ")],
          ["Push service", pushService],
          ["State", <PushState key="state" registration={registration} />],
          ["Registered", dateTime(createdAt)],
          ["Expires", dateTime(expiresAt)],
          ["Id", <code key="id">{id}</code>],
        ]}
      />
      {roles.has("act") ? (
        <div className="acts">
          <Act
            title="Remove"
            explanation={`Sends ${sub} nothing more for this registration. The page may register again: to end all access of a user, revoke their tokens. Lasts over a restart.`}
            isDangerous
            perform={() => api.call("removePush", { id })}
            onDone={onActed}
          />
        </div>
      ) : (
        <p className="hint">To remove it, a token needs the role act.</p>
      )}
    </div>
  );
}

import type { ReactNode } from "react";
import { rulesText, SERIOUS } from "./effects.ts";
import type { Plan } from "./problem.ts";

type Affected = Plan["live"]["affected"];

/** A sample of the users that a draft affects. The service bounds it. */
export const AffectedUsers = ({ users }: { readonly users: Affected }): ReactNode =>
  users.length === 0 ? null : (
    <details>
      <summary>Examples of affected users ({users.length})</summary>
      <ul className="parts">
        {users.map((user) => (
          <li key={JSON.stringify(user)}>
            <strong className={SERIOUS.has(user.effect) ? "bad" : undefined}>{user.effect}</strong>{" "}
            <Name {...user} />
            <p className="hint">
              <code>{user.collection}</code>, {rulesText(user)}
            </p>
          </li>
        ))}
      </ul>
    </details>
  );

const Name = ({ sub, isAnonymous }: Affected[number]): ReactNode => {
  if (isAnonymous) return "anonymous";
  return sub === null ? (
    <>
      a token without <code>sub</code>
    </>
  ) : (
    <code>{sub}</code>
  );
};

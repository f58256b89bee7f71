import { type ReactNode, useState } from "react";
import { useSession } from "../shell/session.ts";
import { Act } from "../ui/act.tsx";

const DAY_MS = 86_400_000;
const KEPT_DAYS = [1, 7, 30, 90, 365] as const;

/** Revokes the tokens of a user, or one token. */
export function RevokeForm({ onDone }: { readonly onDone: () => void }): ReactNode {
  const { api } = useSession();
  const [sub, setSub] = useState("");
  const [jti, setJti] = useState("");
  const [days, setDays] = useState(30);
  const which = jti === "" ? "every token that was issued until now" : "the token with this jti";
  return (
    <div className="stack form">
      <label>
        <span>User (sub)</span>
        <input value={sub} maxLength={1_024} onChange={({ target }) => setSub(target.value)} />
      </label>
      <label>
        <span>One token (jti), or empty for all</span>
        <input value={jti} maxLength={1_024} onChange={({ target }) => setJti(target.value)} />
      </label>
      <label>
        <span>Keep for</span>
        <select value={days} onChange={({ target }) => setDays(Number(target.value))}>
          {KEPT_DAYS.map((day) => (
            <option key={day} value={day}>
              {day === 1 ? "1 day" : `${day} days`}
            </option>
          ))}
        </select>
      </label>
      <p className="hint">Keep it at least as long as the lifetime of the longest token.</p>
      {sub === "" ? (
        <p className="hint">Write the user to go on.</p>
      ) : (
        <Act
          title="Revoke"
          explanation={`Refuses ${which} of ${sub}, on all nodes, and closes their connections. Lasts over a restart.`}
          isDangerous
          perform={() => api.call("revoke", { sub, jti: jti === "" ? null : jti, forMs: days * DAY_MS })}
          onDone={onDone}
        />
      )}
    </div>
  );
}

import { type ReactNode, useState } from "react";
import { Logo } from "./logo.tsx";

interface LoginChoiceProps {
  /** The admin who is logged in. */
  readonly name: string;
  readonly onStay: () => void;
  /** Logs in with the token of the link. */
  readonly onSwitch: () => Promise<void>;
}

/** Asks before a link replaces the login. Another page may have opened the link, so that acts get the name of another admin. */
export function LoginChoice({ name, onStay, onSwitch }: LoginChoiceProps): ReactNode {
  const [isBusy, setIsBusy] = useState(false);
  const change = () => {
    setIsBusy(true);
    void onSwitch();
  };
  return (
    <main className="login">
      <div className="card">
        <Logo />
        <h1>Log in as another admin?</h1>
        <p>
          You are logged in as <strong>{name}</strong>. The link that you opened contains another login. What
          you do after it counts as done by its holder.
        </p>
        <div className="actions">
          <button type="button" className="primary" disabled={isBusy} onClick={onStay}>
            Stay logged in as {name}
          </button>
          <button type="button" disabled={isBusy} onClick={change}>
            Use the login of the link
          </button>
        </div>
      </div>
    </main>
  );
}

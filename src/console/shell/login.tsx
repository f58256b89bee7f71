import { type FormEvent, type ReactNode, useState } from "react";
import { failureText } from "../api/failures.ts";
import { Logo } from "./logo.tsx";

interface LoginProps {
  /** Whether a session has ended while the page was open. */
  readonly hasEnded: boolean;
  /** The refusal of the token of a link. */
  readonly refusal: unknown;
  readonly onToken: (token: string) => Promise<void>;
}

/** Takes the secret of an admin. */
export function Login({ hasEnded, refusal, onToken }: LoginProps): ReactNode {
  const [token, setToken] = useState("");
  const [error, setError] = useState<unknown>(refusal);
  const [isBusy, setIsBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setIsBusy(true);
    setError(null);
    try {
      await onToken(token.trim());
    } catch (caught) {
      setError(caught);
      setIsBusy(false);
    }
  };
  return (
    <main className="login">
      <div className="card">
        <Logo />
        <h1>Tidewire console</h1>
        {hasEnded ? (
          <p className="notice" role="status">
            Your session has ended. Log in again: a draft of rules that you have not saved is kept.
          </p>
        ) : null}
        <form onSubmit={(event) => void submit(event)}>
          <label htmlFor="token">Admin token</label>
          <input
            id="token"
            type="password"
            autoComplete="current-password"
            required
            value={token}
            onChange={(event) => setToken(event.target.value)}
            aria-describedby="token-help"
            aria-invalid={error !== null}
          />
          {error === null ? null : (
            <p className="bad" role="alert">
              {failureText(error)}
            </p>
          )}
          <button type="submit" className="primary" disabled={isBusy || token.trim() === ""}>
            Log in
          </button>
        </form>
        <div id="token-help" className="hint">
          <p>
            The secret of an entry of <code>server.admin.tokens</code>. To make one:{" "}
            <code>tidewire admin-token --name you --role view</code>
          </p>
          <p>
            With no token configured, <code>tidewire start</code> prints a URL that logs in once, if it runs
            in a terminal.
          </p>
        </div>
      </div>
    </main>
  );
}

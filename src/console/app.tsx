import { type ReactNode, useCallback, useEffect, useMemo, useState } from "react";
import type { AnswerOf } from "../admin/api/endpoints.ts";
import { ApiClient } from "./api/client.ts";
import { ApiFailure } from "./api/failures.ts";
import { Login } from "./shell/login.tsx";
import { takeLoginToken } from "./shell/login-token.ts";
import { SessionContext } from "./shell/session.ts";
import { Shell } from "./shell/shell.tsx";
import { Failure } from "./ui/failure.tsx";

type Session = AnswerOf<"whoAmI">;

/** The state of the login. `ended`: there was a session in this page. */
type Phase =
  | { readonly kind: "asking" }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "out"; readonly hasEnded: boolean; readonly refusal: unknown }
  | { readonly kind: "in"; readonly session: Session };

/** Shows the login, or the views of an admin who has a session. */
export function App(): ReactNode {
  const [phase, setPhase] = useState<Phase>({ kind: "asking" });
  const api = useMemo(
    () => new ApiClient(() => setPhase({ kind: "out", hasEnded: true, refusal: null })),
    [],
  );
  const enter = useCallback(
    (session: Session) => {
      api.setCsrf(session.csrf);
      setPhase({ kind: "in", session });
    },
    [api],
  );
  const logIn = useCallback(async (token: string) => enter(await api.call("logIn", { token })), [api, enter]);
  const begin = useCallback(async () => {
    setPhase({ kind: "asking" });
    const token = takeLoginToken();
    try {
      if (token !== null) return await logIn(token);
      return enter(await api.call("whoAmI", {}));
    } catch (error) {
      if (!(error instanceof ApiFailure)) return setPhase({ kind: "failed", error });
      return setPhase({ kind: "out", hasEnded: false, refusal: token === null ? null : error });
    }
  }, [api, enter, logIn]);
  useEffect(() => void begin(), [begin]);
  const context = useMemo(
    () =>
      phase.kind === "in" ? { api, name: phase.session.name, roles: new Set(phase.session.roles) } : null,
    [api, phase],
  );
  const logOut = async () => {
    await api.call("logOut", {});
    setPhase({ kind: "out", hasEnded: false, refusal: null });
  };

  if (phase.kind === "asking") return <p className="starting">Asking the node …</p>;
  if (phase.kind === "failed")
    return (
      <main className="login">
        <Failure error={phase.error} onRetry={() => void begin()} />
      </main>
    );
  if (phase.kind === "out" || context === null)
    return (
      <Login
        hasEnded={phase.kind === "out" && phase.hasEnded}
        refusal={phase.kind === "out" ? phase.refusal : null}
        onToken={logIn}
      />
    );
  return (
    <SessionContext.Provider value={context}>
      <Shell onLogOut={logOut} />
    </SessionContext.Provider>
  );
}

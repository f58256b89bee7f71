import { type ReactNode, useCallback, useEffect, useMemo, useState } from "react";
import type { AnswerOf } from "../admin/api/endpoints.ts";
import { ApiClient } from "./api/client.ts";
import { ApiFailure } from "./api/failures.ts";
import { Login } from "./shell/login.tsx";
import { LoginChoice } from "./shell/login-choice.tsx";
import { onLoginLink, takeLoginToken } from "./shell/login-token.ts";
import { SessionContext } from "./shell/session.ts";
import { Shell } from "./shell/shell.tsx";
import { Failure } from "./ui/failure.tsx";

type Session = AnswerOf<"whoAmI">;

/** The state of the login. `ended`: there was a session in this page. */
type Phase =
  | { readonly kind: "asking" }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "out"; readonly hasEnded: boolean; readonly refusal: unknown }
  /** A link contains another login than the one of this browser. */
  | { readonly kind: "choice"; readonly session: Session; readonly token: string }
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
      const first = token === null ? await api.call("whoAmI", {}) : await logInByLink(api, token);
      return "token" in first ? setPhase({ kind: "choice", ...first }) : enter(first);
    } catch (error) {
      if (!(error instanceof ApiFailure)) return setPhase({ kind: "failed", error });
      return setPhase({ kind: "out", hasEnded: false, refusal: token === null ? null : error });
    }
  }, [api, enter]);
  useEffect(() => {
    void begin();
    return onLoginLink(() => void begin());
  }, [begin]);
  const context = useMemo(
    () =>
      phase.kind === "in" ? { api, name: phase.session.name, roles: new Set(phase.session.roles) } : null,
    [api, phase],
  );
  const showRefusal = (refusal: unknown) => setPhase({ kind: "out", hasEnded: false, refusal });
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
  if (phase.kind === "choice")
    return (
      <LoginChoice
        name={phase.session.name}
        onStay={() => enter(phase.session)}
        onSwitch={() => logIn(phase.token).catch(showRefusal)}
      />
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

/** Logs in with the token of a link. Does nothing yet if this browser has the session of another admin. */
async function logInByLink(
  api: ApiClient,
  token: string,
): Promise<Session | { readonly session: Session; readonly token: string }> {
  const session = await holderOf(api);
  if (session === null) return api.call("logIn", { token });
  return isSameAdmin(session, await holderOf(api, token)) ? session : { session, token };
}

/** The admin of the session of this browser, or of a token; `null` if there is none. */
async function holderOf(api: ApiClient, token?: string): Promise<Session | null> {
  try {
    return await api.call("whoAmI", {}, token === undefined ? {} : { token });
  } catch (error) {
    if (error instanceof ApiFailure && error.status < 500) return null;
    throw error;
  }
}

const isSameAdmin = (session: Session, other: Session | null): boolean =>
  other !== null && other.name === session.name && other.roles.join() === session.roles.join();

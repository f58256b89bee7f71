import type { Admin } from "../access/admin.ts";
import { type AdminAccess, AdminRefusal, type Admitted } from "../access/admin-access.ts";
import { sessionCookie, sessionIdOf } from "../access/session-cookie.ts";
import type { Session, Sessions } from "../access/sessions.ts";
import { ApiError, type Call } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";

/** Begins a session for an admin who has just logged in, and ends the one that the request names, if any. */
export function beginSession(
  sessions: Sessions,
  admin: Admin,
  { request, response, nowMs }: Pick<Call, "request" | "response" | "nowMs">,
): Session {
  const former = sessionIdOf(request);
  if (former !== null) sessions.end(former);
  const { id, session } = sessions.begin(admin, nowMs);
  response.setHeader("set-cookie", sessionCookie(request, id, session.endsAtMs - nowMs));
  return session;
}

/** The sender of a request that only admins may make. */
export function senderOf({ sender }: Call): Admitted {
  // The router has refused everyone else. If it did not, nothing must happen.
  if (sender === null) throw new ApiError(403, "no-admin", "this needs an admin");
  return sender;
}

/** Whether the sender may see the contents of documents. */
export const mayReadDocuments = (call: Call): boolean => senderOf(call).admin.roles.has("documents");

const answerOf = ({ name, roles }: Admin, session: Session | null) => ({
  name,
  roles: [...roles],
  csrf: session?.csrf ?? null,
  endsAt: session === null ? null : new Date(session.endsAtMs).toISOString(),
});

/**
 * The handlers of logging in and out.
 * @param loggedIn Called with the admin and the address of the sender.
 */
export function sessionHandlers(
  access: AdminAccess,
  sessions: Sessions,
  loggedIn: (admin: Admin, from: string) => void,
): Pick<Handlers, "logIn" | "whoAmI" | "logOut"> {
  return {
    logIn: async (call, { token }) => {
      const admin = await access.logIn(token, call.from, call.nowMs);
      if (admin instanceof AdminRefusal) throw admin;
      loggedIn(admin, call.from);
      return answerOf(admin, beginSession(sessions, admin, call));
    },
    whoAmI: (call) => {
      const { admin, session } = senderOf(call);
      return answerOf(admin, session);
    },
    logOut: (call) => {
      const { request, response } = call;
      const id = sessionIdOf(request);
      if (id !== null && senderOf(call).session !== null) sessions.end(id);
      response.setHeader("set-cookie", sessionCookie(request, "", 0));
      return {};
    },
  };
}

import { createContext, useContext } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import type { ApiClient } from "../api/client.ts";

/** A right of an admin. */
export type Role = AnswerOf<"whoAmI">["roles"][number];

/** The admin who is logged in, and the node that answers. */
interface SessionOfPage {
  readonly api: ApiClient;
  readonly name: string;
  readonly roles: ReadonlySet<Role>;
}

export const SessionContext = createContext<SessionOfPage | null>(null);

/** The session of this page. Views exist only while there is one. */
export function useSession(): SessionOfPage {
  const session = useContext(SessionContext);
  if (session === null) throw new Error("a view was shown without a session");
  return session;
}

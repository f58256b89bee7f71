import { type Revocation, revocationId } from "../../source/revocation-store.ts";
import type { Processes } from "../questions.ts";
import type { Acts } from "./acts.ts";
import { ApiError } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { timeOf, timeOrNull } from "./times.ts";

type RevocationHandlers = Pick<Handlers, "revocations" | "revoke" | "undoRevocation">;

const UNCONFIRMED =
  "Look at the revocations (GET /api/v1/revocations) as soon as MongoDB answers, and ask again: that does no harm";

const rowOf = ({ sub, iss, jti, issuedBeforeMs, expiresAtMs }: Revocation) => ({
  sub,
  iss,
  jti,
  issuedBefore: timeOrNull(issuedBeforeMs),
  expiresAt: timeOf(expiresAtMs),
});

/** The handlers of revocations. */
export function revocationHandlers(processes: Processes, acts: Acts): RevocationHandlers {
  return {
    revocations: async (_call, { limit, ...search }) => {
      const found = await processes.one("revocations", { ...search, limit: limit + 1 });
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return { revocations: page.map(rowOf), next: last === undefined ? null : revocationId(last) };
    },
    revoke: async (call, { sub, iss, jti, issuedBefore, forMs }) => {
      const { nowMs } = call;
      const beforeMs = issuedBefore === undefined ? nowMs : Date.parse(issuedBefore);
      const issuedBeforeMs = jti === null ? beforeMs : null;
      const revocation = { sub, iss, jti, issuedBeforeMs, expiresAtMs: nowMs + forMs };
      const check = await processes.one("checkRevocation", revocation);
      if (check !== null) throw new ApiError(409, "not-revocable", check.refused);
      const target = { ...rowOf(revocation) };
      const act = { act: "revoke", target, ifUnconfirmed: UNCONFIRMED };
      await acts.run(call, act, () => processes.one("revoke", revocation));
      const until = timeOf(revocation.expiresAtMs);
      const note = `It is in the state database until ${until}: it holds on every node, and over restarts.`;
      return { revocation: rowOf(revocation), lasts: true, note };
    },
    undoRevocation: async (call, which) => {
      const act = { act: "undo-revocation", target: which, ifUnconfirmed: UNCONFIRMED };
      const existed = await acts.run(call, act, () => processes.one("undoRevocation", which));
      if (existed)
        return { lasts: true, note: "Such tokens are accepted again, on every node, until they expire." };
      const text = "there is no such revocation; iss and jti have to be the same as in the list";
      throw new ApiError(404, "no-revocation", text);
    },
  };
}

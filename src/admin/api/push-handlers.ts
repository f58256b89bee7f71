import type { Processes, PushRow } from "../questions.ts";
import type { Acts } from "./acts.ts";
import { ApiError } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { timeOf } from "./times.ts";

type PushHandlers = Pick<Handlers, "pushes" | "removePush">;

const UNCONFIRMED =
  "Look at the registrations (GET /api/v1/pushes) as soon as MongoDB answers, and ask again: that does no harm";

const rowOf = ({ createdAtMs, expiresAtMs, ...row }: PushRow) => ({
  ...row,
  createdAt: timeOf(createdAtMs),
  expiresAt: timeOf(expiresAtMs),
});

/** The handlers of push registrations. */
export function pushHandlers(processes: Processes, acts: Acts): PushHandlers {
  return {
    pushes: async (_call, { limit, ...search }) => {
      const found = await processes.one("pushes", { ...search, limit: limit + 1 });
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return { registrations: page.map(rowOf), next: last?.id ?? null };
    },
    removePush: async (call, { id }) => {
      const act = { act: "remove-push", target: { id }, ifUnconfirmed: UNCONFIRMED };
      const existed = await acts.run(call, act, () => processes.one("removePush", id));
      if (existed)
        return { lasts: true, note: "Nothing is sent for it any more. The user may register again." };
      throw new ApiError(404, "no-registration", "there is no such push registration");
    },
  };
}

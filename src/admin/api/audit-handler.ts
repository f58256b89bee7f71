import type { Processes } from "../questions.ts";
import type { Handlers } from "./endpoints.ts";
import { timeOf } from "./times.ts";

/** The handler of the audit. */
export const auditHandlers = (processes: Processes): Pick<Handlers, "audit"> => ({
  audit: async (_call, { limit, ...search }) => {
    const found = await processes.one("audit", { ...search, limit: limit + 1 });
    const page = found.slice(0, limit);
    const next = found.length > limit ? (page.at(-1)?.id ?? null) : null;
    return { entries: page.map(({ atMs, ...entry }) => ({ ...entry, at: timeOf(atMs) })), next };
  },
});

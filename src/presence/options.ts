import { z } from "zod";
import { PresenceRules } from "../rules/presence-options.ts";

/** The section `presence`: who is where. */
export const PresenceOptions = PresenceRules.extend({
  ttlMs: z
    .int()
    .min(1_000)
    .max(3_600_000)
    .default(15_000)
    .describe(
      "How long an entry outlives its connection. A client that reconnects within this time, to any node, was never away.",
    ),
  entries: z
    .int()
    .min(1)
    .max(400_000)
    .default(100_000)
    .describe(
      "Entries of this node, those included whose connection has ended. With more, enter is answered unavailable. The lease of a node names the entries that it has taken over, in one document, which bounds them.",
    ),
});
/** Options of presence, with all defaults filled in. */
export type PresenceOptions = z.output<typeof PresenceOptions>;

/**
 * The schema of the rules of presence: who may enter which room. They have the form of the rules of a collection, and are
 * judged over the entry that a user wants to make.
 */
import { z } from "zod";
import { LookupOptions, RuleOptions } from "./options.ts";

/** The name under which clients follow the entries, and that of their collection in the state database. */
export const PRESENCE = "presence";

/** One rule of presence. */
export const PresenceRuleOptions = z.strictObject({
  name: RuleOptions.shape.name,
  when: RuleOptions.shape.when,
  filter: RuleOptions.shape.filter
    .meta({ examples: [{ room: { $in: "%%lookup.rooms" } }] })
    .describe(
      "Filter over the entry: room, user, data, and iss if auth.jwt names several issuers. %%user.… inserts a claim, %%lookup.NAME a set. Unset: any.",
    ),
  allow: z
    .strictObject({
      dataBytes: z
        .int()
        .min(0)
        .max(16_384)
        .default(1_024)
        .describe("Largest `data` of an entry, as JSON. Every follower of the room receives it."),
      rooms: z
        .int()
        .min(1)
        .max(1_000)
        .default(20)
        .describe("Rooms that one connection, or one tab, may be in at a time."),
    })
    .prefault({})
    .describe("Restricts the entries."),
});
/** One rule of presence in the form of the file. */
export type PresenceRuleOptions = z.output<typeof PresenceRuleOptions>;

/** The part of the section `presence` that decides who may enter. */
export const PresenceRules = z.strictObject({
  rules: z
    .array(PresenceRuleOptions)
    .readonly()
    .meta({ examples: [[{ name: "member", filter: { room: { $in: "%%lookup.rooms" } } }]] })
    .describe(
      "The first rule whose `when` holds applies, alone. If none holds: forbidden. Anonymous users may never enter.",
    ),
  lookups: z
    .record(
      z.string().regex(/^[A-Za-z0-9_-]+$/, { error: "a name of letters, digits, - and _" }),
      LookupOptions,
    )
    .optional()
    .describe("Sets of values that rules use as %%lookup.NAME, as those of a collection."),
});
/** The rules of presence in the form of the file. */
export type PresenceRules = z.output<typeof PresenceRules>;

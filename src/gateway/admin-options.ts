import { z } from "zod";
import { JwtOptions } from "../auth/options.ts";
import { compileClaimsFilter } from "../rules/compile-rules.ts";
import { host, port } from "./host-options.ts";

/** The roles of admins. None includes another one. */
export const ADMIN_ROLES = ["view", "act", "edit", "documents"] as const;

/** A right of an admin. */
export type AdminRole = (typeof ADMIN_ROLES)[number];

/**
 * Whether a text can be an admin token. Tokens are compared as digests, so that neither length nor content shows in the
 * timing.
 */
const isAdminToken = (text: string) =>
  text === "" || (/^[\x21-\x7e]{32,512}$/.test(text) && new Set(text).size >= 10);

const role = z.enum(ADMIN_ROLES);

/** One admin token, of which the configuration holds only a digest. */
const TokenOptions = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.@-]{1,64}$/, { error: "a name of letters, digits and . _ @ -, at most 64 characters" })
    .meta({ examples: ["ci"] })
    .describe("The name of its holder in the audit."),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, {
      error: "the SHA-256 of the secret as 64 hexadecimal digits. tidewire admin-token prints it",
    })
    .meta({ examples: ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"] })
    .describe("SHA-256 of the secret, in hexadecimal digits."),
  roles: z
    .array(role)
    .min(1)
    .readonly()
    .meta({ examples: [["view"]] })
    .describe(
      "view: everything but documents; act: disconnect, re-authorize, revoke, trace; edit: rules; documents: contents of documents.",
    ),
});

/** A filter over the claims, in the form of the file. */
const when = z
  .record(z.string(), z.unknown())
  .superRefine((filter, context) => {
    const compiled = compileClaimsFilter(filter);
    if (typeof compiled !== "string") return;
    context.addIssue({ code: "custom", message: `a filter over the claims, as in when: ${compiled}` });
  })
  .meta({ examples: [{ "%%user.groups": { $in: ["ops"] } }] });

/** How JWTs of admins are verified, and which claims grant which role. */
const AdminJwtOptions = JwtOptions.safeExtend({
  when: z
    .strictObject({
      view: when.optional().describe("Claims that grant view. Unset: none do."),
      act: when.optional().describe("Claims that grant act. Unset: none do."),
      edit: when.optional().describe("Claims that grant edit. Unset: none do."),
      documents: when.optional().describe("Claims that grant documents. Unset: none do."),
    })
    .refine((roles) => Object.values(roles).some((filter) => filter !== undefined), {
      error: "at least one role with a filter over the claims. Add view",
    })
    .meta({ examples: [{ view: { "%%user.groups": { $in: ["ops"] } } }] })
    .describe("For each role a filter over the claims, written as the when of a rule."),
});

/** The second listener, which is not public: health, `/metrics`, and the questions and acts of admins. */
export const AdminOptions = z
  .strictObject({
    host: z.string().min(1).default("127.0.0.1").describe("Address that the admin listener binds to."),
    port: port.default(8_481).describe("Port of the admin listener; 0 lets the system choose one."),
    hosts: z
      .array(host)
      .readonly()
      .default(["localhost", "127.0.0.1", "[::1]"])
      .meta({ examples: [["localhost", "127.0.0.1", "[::1]", "tidewire.internal"]] })
      .describe(
        "Names under which clients may use the admin listener (Host header); a name without a port allows any port. Protects against DNS rebinding.",
      ),
    token: z
      .string()
      .refine(isAdminToken, {
        error:
          'at least 32 characters, random and without spaces, or "" for none. Make one with `openssl rand -hex 32`',
      })
      .optional()
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
      .meta({ examples: ["${TIDEWIRE_ADMIN_TOKEN}"] })
      .describe("One token with all roles, as plain text. Unset or empty: none. Prefer tokens."),
    tokens: z
      .array(TokenOptions)
      .max(100)
      .refine((tokens) => new Set(tokens.map(({ name }) => name)).size === tokens.length, {
        error: "each name once. Rename one of the tokens",
      })
      .readonly()
      .default([])
      .describe("Tokens of admins and their scripts; tidewire admin-token makes an entry."),
    jwt: AdminJwtOptions.optional().describe(
      "Tokens of a login service that admins may use. Tokens of clients are never accepted: keys that auth.jwt has, too, need an audience that it has not.",
    ),
    sessions: z
      .int()
      .min(1)
      .max(10_000)
      .default(100)
      .describe("Sessions of all admins at a time. One more ends the oldest."),
    sessionsPerAdmin: z
      .int()
      .min(1)
      .max(10_000)
      .default(10)
      .describe(
        "Sessions of one admin at a time, by the name in the audit. One more ends the oldest of that admin, so that no admin ends the sessions of others.",
      ),
    sessionLifetimeMs: z
      .int()
      .min(60_000)
      .max(12 * 3_600_000)
      .default(12 * 3_600_000)
      .describe("How long a session lasts after the login."),
    auditForMs: z
      .int()
      .min(3_600_000)
      .max(3_650 * 86_400_000)
      .default(365 * 86_400_000)
      .describe("How long the audit keeps the acts of admins. MongoDB removes older entries."),
    traces: z
      .int()
      .min(0)
      .max(20)
      .default(4)
      .describe("Traces that run at a time in each process; 0: none. POST /api/v1/traces refuses one more."),
    traceEvents: z
      .int()
      .min(10)
      .max(10_000)
      .default(500)
      .describe("Entries that a trace keeps. A new one replaces the oldest. Each takes up to about 20 KiB."),
    tries: z
      .int()
      .min(1)
      .max(100)
      .default(3)
      .describe(
        "Requests that admins try at a time (POST /api/v1/try). One more is refused. Each explains all rules of a collection in the process that serves clients.",
      ),
    nameDocuments: z
      .int()
      .min(0)
      .max(1_000)
      .default(100)
      .describe(
        "Documents at random from which the editor of rules takes the names of fields of one collection; 0: none are read, and no field is completed.",
      ),
    jwtChecks: z
      .int()
      .min(5)
      .max(1_000)
      .default(50)
      .describe(
        "Signatures of JWTs that have not identified an admin before, checked per second over time; twice as many at once. One network (an IPv4 address, or an IPv6 /64) has a fifth of it.",
      ),
    console: z
      .boolean()
      .default(true)
      .describe(
        "Whether the admin listener serves the console, a page that uses its API. Without it the API is the same.",
      ),
    protectMetrics: z.boolean().default(false).describe("Whether /metrics also requires a token."),
    requestBytes: z
      .int()
      .min(1_024)
      .max(16 * 1_048_576)
      .default(262_144)
      .describe(
        "Largest body that the API for admins accepts; planBytes applies to drafts of the rules instead.",
      ),
    planBytes: z
      .int()
      .min(1_024)
      .max(16 * 1_048_576)
      .default(1_048_576)
      .describe("Largest draft of the rules that the API for admins plans, tests, replays or applies."),
    planTimeoutMs: z
      .int()
      .min(1_000)
      .max(120_000)
      .default(20_000)
      .describe(
        "How long the API for admins may take to read a draft of the rules while the service does other work.",
      ),
  })
  .refine(
    ({ protectMetrics, token = "", tokens, jwt }) =>
      !protectMetrics || token !== "" || tokens.length > 0 || jwt !== undefined,
    {
      path: ["protectMetrics"],
      error: "true only with a token: without one nobody could read them. Set server.admin.tokens",
    },
  );
/** Options of the admin listener, with all defaults filled in. */
export type AdminOptions = z.output<typeof AdminOptions>;

/** Whether the configuration names a way to log in. */
export const hasCredentials = ({ token = "", tokens, jwt }: AdminOptions): boolean =>
  token !== "" || tokens.length > 0 || jwt !== undefined;

/**
 * The sections `auth` and `auth.jwt` of the configuration. The schema refuses combinations that are known attacks on
 * JWT, such as HS* beside RS* (RFC 8725), so that no code after it has to handle them.
 */
import { z } from "zod";
import { ALGORITHMS, familiesOf } from "./algorithms.ts";
import { checkKeySource } from "./key-source.ts";

const oneOrMore = z.union([z.string().min(1), z.array(z.string().min(1)).min(1).readonly()], {
  error: "a string, or a list of strings",
});

/** The section `auth.jwt`: how tokens are verified. A token never chooses its own algorithm (RFC 8725, 3.1). */
export const JwtOptions = z
  .strictObject({
    algorithms: z
      .array(z.enum(ALGORITHMS))
      .min(1)
      .refine((list) => familiesOf(list).length === 1 || !familiesOf(list).includes("HS"), {
        error:
          "either HS* algorithms or asymmetric ones, never both: a public key would pass as an HS secret",
      })
      .readonly()
      .meta({ examples: [["HS256"]] })
      .describe("Permitted signature algorithms. HS* cannot be combined with RS*, PS*, ES* or EdDSA."),
    secret: z
      .string()
      .min(1)
      .optional()
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the file's own syntax for an environment variable.
      .meta({ examples: ["${TIDEWIRE_JWT_SECRET}"] })
      .describe("For HS*: the shared secret, at least as long as the hash (32 bytes for HS256)."),
    publicKey: z
      .string()
      .min(1)
      .optional()
      .meta({ examples: ["/etc/tidewire/jwt.pub.pem"] })
      .describe(
        "For one asymmetric key: the file that contains it, as PEM (public key or certificate) or as JWK.",
      ),
    jwksUri: z
      .string()
      .min(1)
      .optional()
      .meta({ examples: ["https://login.example.com/.well-known/jwks.json"] })
      .describe("For rotating asymmetric keys: an https URL (http only on loopback), or file: with a path."),
    issuer: oneOrMore
      .optional()
      .meta({ examples: ["https://login.example.com/"] })
      .describe("The iss that tokens must carry; one or several. Unset: not checked."),
    audience: oneOrMore
      .optional()
      .meta({ examples: ["tidewire"] })
      .describe("The aud that tokens must carry; one or several. Unset: not checked."),
    clockToleranceMs: z
      .int()
      .min(0)
      .max(300_000)
      .default(5_000)
      .describe("How far the issuer's clock may differ from this machine's."),
    requireExpiry: z
      .boolean()
      .default(true)
      .describe("Whether tokens need exp. A stolen token without exp is valid until the key is changed."),
    jwksMaxAgeMs: z
      .int()
      .min(1_000)
      .default(600_000)
      .describe(
        "Keys older than this are fetched again. A key that has left the set is trusted at most this long.",
      ),
    jwksStaleMaxMs: z
      .int()
      .min(1_000)
      .default(86_400_000)
      .describe(
        "If the keys cannot be fetched again for this long, they are no longer trusted. At least jwksMaxAge.",
      ),
    jwksCooldownMs: z
      .int()
      .min(1_000)
      .default(30_000)
      .describe("Minimum time between two fetches, however many tokens name unknown keys."),
    jwksTimeoutMs: z
      .int()
      .min(100)
      .max(60_000)
      .default(5_000)
      .describe("How long one fetch of the keys may take."),
    claimsBytes: z
      .int()
      .min(256)
      .default(32 * 1_024)
      .describe(
        "Largest payload of a token, as JSON; a larger one is refused (unauthenticated, claims-bytes).",
      ),
    claimsDepth: z
      .int()
      .min(2)
      .max(64)
      .default(16)
      .describe(
        "How deeply objects and lists may nest in claims; the payload itself is level 1. Rules read the claims at every evaluation.",
      ),
    claimsValues: z
      .int()
      .min(16)
      .default(2_000)
      .describe("Values in the claims of one token: members of objects and lists together."),
    tokenCache: z
      .int()
      .min(0)
      .max(1_000_000)
      .default(10_000)
      .describe("Verified tokens cached (by hash) until they expire, so that a mass reconnect costs little."),
  })
  .superRefine(checkKeySource)
  .superRefine(({ jwksMaxAgeMs, jwksStaleMaxMs }, context) => {
    if (jwksStaleMaxMs >= jwksMaxAgeMs) return;
    const message = "at least jwksMaxAge: keys younger than that are not even fetched again";
    context.addIssue({ code: "custom", path: ["jwksStaleMaxMs"], message });
  });
/** How tokens are verified, with durations in milliseconds. */
export type JwtOptions = z.output<typeof JwtOptions>;

/**
 * How long after its expiry a token is still accepted, in milliseconds. `checkIssuers` makes it equal for all entries,
 * because connections and tickets of all issuers end by the same clock.
 */
export const toleranceOf = (entries: readonly Pick<JwtOptions, "clockToleranceMs">[] | undefined): number =>
  entries?.[0]?.clockToleranceMs ?? 0;

/** Whether tokens of more than one issuer are accepted, so that one `sub` may belong to different users. */
export const hasSeveralIssuers = (entries: readonly Pick<JwtOptions, "issuer">[] | undefined): boolean =>
  (entries ?? []).flatMap(({ issuer }) => issuer ?? []).length > 1;

/**
 * With several entries, each must name its issuers, and no issuer may appear twice: the service never tries entries in
 * turn.
 */
function checkIssuers(entries: readonly JwtOptions[], context: z.RefinementCtx): void {
  if (entries.length === 1) return;
  const seen = new Set<string>();
  const problem = (path: (string | number)[], message: string) =>
    context.addIssue({ code: "custom", path, message });
  for (const [index, { issuer, clockToleranceMs }] of entries.entries()) {
    if (issuer === undefined)
      problem(
        [index],
        "an issuer in each entry of the list, as it says whose tokens the entry verifies. Add issuer",
      );
    for (const name of issuer === undefined ? [] : [issuer].flat()) {
      if (seen.has(name))
        problem([index, "issuer"], "each issuer in one entry only. Put all its keys into that entry");
      seen.add(name);
    }
    if (clockToleranceMs !== entries[0]?.clockToleranceMs)
      problem(
        [index, "clockToleranceMs"],
        "the same in each entry, as connections and tickets end by one tolerance. Write the same value",
      );
  }
}

/** Whether nodes follow revocations: where the state database allows it, always, or never. */
export const REVOCATION_MODES = ["auto", "on", "off"] as const;

/** The section `auth`: which clients may connect. */
export const AuthOptions = z
  .strictObject({
    jwt: z
      .array(JwtOptions)
      .min(1)
      .superRefine(checkIssuers)
      .meta({ oneOrMore: true })
      .readonly()
      .optional()
      .describe(
        "How tokens are verified. Required unless all users are anonymous. A list for several issuers: an entry verifies the tokens of its own issuer, no other.",
      ),
    anonymous: z
      .boolean()
      .default(false)
      .describe(
        "Whether connections without a token are admitted. They match only rules with anonymous: true.",
      ),
    revocation: z
      .enum(REVOCATION_MODES)
      .default("auto")
      .describe(
        "Whether nodes follow revocations: auto if the change stream can cover mongodb.stateDatabase, on refuses to start if it cannot, off never.",
      ),
    revocationBytes: z
      .int()
      .min(1_024)
      .default(16_777_216)
      .describe("Memory for all revocations in force. Above the limit the node accepts no token."),
    helloTimeoutMs: z
      .int()
      .min(100)
      .max(60_000)
      .default(5_000)
      .describe("A connection that has not sent hello within this time is closed (4408)."),
    urlKeyLifetimeMs: z
      .int()
      .min(1_000)
      .max(600_000)
      .default(30_000)
      .describe("How long a single-use key for EventSource (POST /v1/key) may be used."),
    urlKeysPerUser: z
      .int()
      .min(1)
      .max(10_000)
      .default(100)
      .describe(
        "Keys for EventSource of one user, used or not, that the state database holds. A further key evicts the oldest.",
      ),
    expiryNoticeMs: z
      .int()
      .min(0)
      .max(3_600_000)
      .default(60_000)
      .describe("How long before the expiry of its token a connection receives expiring."),
  })
  .superRefine(({ jwt, anonymous }, context) => {
    if (jwt !== undefined || anonymous) return;
    const message = "jwt, anonymous: true, or both; as it is, nobody could connect. Add a jwt section";
    context.addIssue({ code: "custom", path: [], message });
  });
/** The section `auth`: how tokens are verified and revoked, and whether clients may connect without one. */
export type AuthOptions = z.output<typeof AuthOptions>;

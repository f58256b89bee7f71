/**
 * Verifies tokens against one entry of `auth.jwt`. All paths by which a token enters (hello, refresh, a request header,
 * a single-use key) call the same verifier, so that none of them can be weaker than another.
 */
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose";
import { TidewireError } from "../protocol/errors.ts";
import { type ClaimsFault, claimsFault } from "./claims-bounds.ts";
import { importedKey } from "./hmac-key.ts";
import { JwksKeys, type KeysEvent, type KeysListener, KeyUnknown } from "./jwks-keys.ts";
import { loadPublicKey, secretKey, signedByOf, type VerifyKey } from "./keys.ts";
import type { JwtOptions } from "./options.ts";
import { type SubjectDigest, subjectOf } from "./subject.ts";
import { TokenCache } from "./token-cache.ts";

/** The user for whom a connection speaks. */
export interface Identity {
  /** The verified payload; rules see it as `%%user`. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** `sub` as `welcome` reports it to the client. To compare users, use `subject`. */
  readonly sub: string | null;
  /** The user, for every comparison and count (see `subjectOf`); `null` for a token without `sub`. */
  readonly subject: SubjectDigest | null;
  /** Expiry of the token in epoch milliseconds, within the range of `Date`; `null` if it never expires. */
  readonly expiresAtMs: number | null;
  /**
   * When the token was issued (`iat`), in epoch milliseconds within the range of `Date`; `null` if the token does not
   * say.
   */
  readonly issuedAtMs: number | null;
  /** The token's `jti`; `null` if it has none. */
  readonly tokenId: string | null;
  /** The key under which the token was verified (see `isTrusted`). It has no meaning outside the service. */
  readonly signedBy: string;
}

/** `signedBy` of a user whose claims are in the configuration. No key has such a name: those contain a space. */
export const BY_CONFIGURATION = "configuration";

/** Why a token was refused; `details.reason` of `unauthenticated`. */
export type TokenReason =
  | "missing"
  | "invalid"
  | "expired"
  | "not-yet-valid"
  | "key-unknown"
  | "revoked"
  | ClaimsFault;

/** Verifies tokens against the keys that are in force. */
export interface Verifier {
  /**
   * Verifies one token.
   * @param nowMs The time to judge by, in epoch milliseconds.
   * @throws {TidewireError} `unauthenticated`, `details.reason` being a `TokenReason`; `unavailable` while no signing
   *   key has been fetched. The text reveals nothing about token or key; the library's own error is the `cause`, for
   *   the log alone.
   */
  verify(token: string, nowMs?: number): Promise<Identity>;
  /**
   * Loads the keys that `isTrusted` needs, for an identity that another node verified.
   * @throws {TidewireError} `unavailable` while there is no key set.
   */
  ensureKeys(signedBy: string, nowMs: number): Promise<void>;
  /** Whether the key under which a token was verified is still in use. */
  isTrusted(signedBy: string): boolean;
  /**
   * Refreshes keys, or gives them up. To be called about every second, because keys must also expire while no token is
   * verified.
   */
  tick(nowMs: number): Promise<void>;
  /** Age of the fetched key set in milliseconds; `null` where none is fetched. */
  keysAgeMs(nowMs: number): number | null;
}

const TEXTS: Readonly<Record<TokenReason, string>> = {
  missing: "a token is needed",
  invalid: "the token is not genuine or not meant for this service",
  expired: "the token has expired: get a new one",
  "not-yet-valid": "the token is not valid yet: check the clocks, or get a new one",
  "key-unknown": "the token's signing key is unknown or retired: get a new token",
  "claims-bytes": "the token's claims are too large",
  "claims-depth": "the token's claims are nested too deeply",
  "claims-values": "the token has too many claims",
  "claims-unusable": "the token's claims hold a key, a string or a number that no rule can read",
  revoked: "the token has been revoked: get a new one",
};

/** The latest time that a `Date` can hold. A later `exp` is treated as this one, so that no arithmetic overflows. */
const LATEST_MS = 8.64e15;

/**
 * Makes the verifier for the tokens of an issuer. Algorithms and keys come from `options` alone: a token's header
 * chooses among them, and never names a URL or a file that would be read.
 * @param options One entry of `auth.jwt`.
 * @param onKeys Called at every change of the fetched key set, for the log.
 * @throws {KeyRefused} The key cannot be used. The text says why and does not contain the key.
 */
export function createVerifier(options: JwtOptions, onKeys: KeysListener = () => {}): Verifier {
  const cache = new TokenCache<Identity>(options.tokenCache);
  const issuers = options.issuer === undefined ? [] : listOf(options.issuer);
  const keyFor = keySource(options, (event) => {
    // Tokens that were verified with a key that is now retired must be verified again.
    if (event.type !== "failed") cache.clear();
    onKeys(event, issuers);
  });
  return {
    ensureKeys: (_signedBy, nowMs) => keyFor.ensureKeys(nowMs),
    isTrusted: (signedBy) => keyFor.isTrusted(signedBy),
    tick: (nowMs) => keyFor.tick(nowMs),
    keysAgeMs: (nowMs) => keyFor.ageMs(nowMs),
    async verify(token, nowMs = Date.now()) {
      if (token === "") throw tokenRefusal("missing");
      if (!isSpelledAsSigned(token)) throw tokenRefusal("invalid");
      // A rotation must take effect on time, so a due fetch happens here and not only when a token names an unknown
      // key.
      await keyFor.refreshIfStale(nowMs);
      // Taken before the verification: a `clear` during it must prevent that the result is cached.
      const { generation } = cache;
      const known = cache.get(token);
      const identity = known ?? (await verifyUncached(token, options, keyFor, nowMs));
      if (known === undefined) cache.set(token, identity, generation);
      else if (hasExpired(known, options.clockToleranceMs, nowMs)) {
        cache.delete(token);
        throw tokenRefusal("expired");
      }
      return identity;
    },
  };
}

/** The verifier of a service where every client is anonymous: it refuses every token. */
export const NO_TOKENS: Verifier = {
  verify: async (token) => Promise.reject(tokenRefusal(token === "" ? "missing" : "invalid")),
  ensureKeys: async () => {},
  isTrusted: () => false,
  tick: async () => {},
  keysAgeMs: () => null,
};

const PARTS = 3;

/**
 * Whether a token has the only spelling that RFC 7515 allows: three parts of base64url, without padding, white space,
 * characters of ordinary base64, or stray bits at the end of a part. The library decodes all of those, so one genuine
 * token would have many spellings, each with its own cache entry and its own hash.
 */
function isSpelledAsSigned(token: string): boolean {
  const parts = token.split(".", PARTS + 1);
  return (
    parts.length === PARTS &&
    parts.every((part) => Buffer.from(part, "base64url").toString("base64url") === part)
  );
}

interface KeySource {
  key(header: { alg?: string; kid?: string }, nowMs: number): VerifyKey | Promise<VerifyKey>;
  refreshIfStale(nowMs: number): Promise<void> | undefined;
  ensureKeys(nowMs: number): Promise<void>;
  isTrusted(signedBy: string): boolean;
  tick(nowMs: number): Promise<void>;
  ageMs(nowMs: number): number | null;
}

function keySource(options: JwtOptions, onKeys: (event: KeysEvent) => void): KeySource {
  if (options.jwksUri !== undefined) return new JwksKeys(options.jwksUri, options, onKeys);
  const key =
    options.secret === undefined
      ? loadPublicKey(options.publicKey ?? "", options.algorithms)
      : secretKey(options.secret, options.algorithms);
  const trusted = new Set(options.algorithms.map((algorithm) => signedByOf(algorithm, key)));
  return {
    key: () => key,
    refreshIfStale: () => undefined,
    ensureKeys: async () => {},
    isTrusted: (signedBy) => trusted.has(signedBy),
    tick: async () => {},
    ageMs: () => null,
  };
}

async function verifyUncached(
  token: string,
  options: JwtOptions,
  keys: KeySource,
  nowMs: number,
): Promise<Identity> {
  let payload: JWTPayload;
  let signedBy = "";
  try {
    const verified = await jwtVerify(
      token,
      async (header) => {
        const key = await keys.key(header, nowMs);
        signedBy = signedByOf(header.alg, key);
        return importedKey(key.key, header.alg);
      },
      checksOf(options, nowMs),
    );
    payload = verified.payload;
  } catch (cause) {
    if (cause instanceof TidewireError) throw cause;
    throw tokenRefusal(reasonOf(cause), cause);
  }
  // After the signature check, so that only the claims of a genuine token are walked.
  const fault = claimsFault(payload, payloadBytes(token), options);
  if (fault !== undefined) throw tokenRefusal(fault);
  return identityOf(payload, signedBy);
}

/** Length of the JSON in a token, in bytes (RFC 7515, 7.1: the second of three parts, in base64url). */
const payloadBytes = (token: string) => Math.floor(((token.split(".")[1] ?? "").length * 3) / 4);

/**
 * Builds the identity from verified claims.
 * @throws {TidewireError} `unauthenticated`: a claim that identifies the token or its user has another type than RFC
 *   7519 defines.
 */
function identityOf(payload: JWTPayload, signedBy: string): Identity {
  const { iss, sub, exp, iat } = payload;
  // The library's type promises a string. Some issuers number their tokens instead, and those work as well.
  const jti: unknown = payload.jti;
  for (const [name, value] of Object.entries({ iss, sub })) {
    if (value !== undefined && typeof value !== "string")
      throw tokenRefusal("invalid", new TypeError(`${name} is no string`));
  }
  if (jti !== undefined && typeof jti !== "string" && typeof jti !== "number")
    throw tokenRefusal("invalid", new TypeError("jti is no string"));
  return {
    claims: payload,
    sub: sub ?? null,
    subject: subjectOf({ iss, sub }),
    expiresAtMs: exp === undefined ? null : toMs(exp),
    issuedAtMs: iat === undefined ? null : toMs(iat),
    tokenId: jti === undefined ? null : String(jti),
    signedBy,
  };
}

/** A NumericDate (RFC 7519, 2) in milliseconds, within what a `Date` can hold. */
const toMs = (seconds: number) => Math.min(Math.max(seconds * 1_000, -LATEST_MS), LATEST_MS);

function checksOf(options: JwtOptions, nowMs: number): JWTVerifyOptions {
  const { issuer, audience } = options;
  return {
    algorithms: [...options.algorithms],
    ...(issuer === undefined ? {} : { issuer: listOf(issuer) }),
    ...(audience === undefined ? {} : { audience: listOf(audience) }),
    // The library counts in seconds (RFC 7519, NumericDate), all other code here in milliseconds.
    currentDate: new Date(nowMs),
    clockTolerance: options.clockToleranceMs / 1_000,
    requiredClaims: options.requireExpiry ? ["exp"] : [],
  };
}

const listOf = (value: string | readonly string[]) => (typeof value === "string" ? [value] : [...value]);

/** Whether the token of an identity has expired, the clock tolerance (in milliseconds) included. */
export function hasExpired(
  { expiresAtMs }: Pick<Identity, "expiresAtMs">,
  clockToleranceMs: number,
  nowMs: number,
): boolean {
  return expiresAtMs !== null && expiresAtMs + clockToleranceMs <= nowMs;
}

function reasonOf(cause: unknown): TokenReason {
  if (cause instanceof errors.JWTExpired) return "expired";
  if (
    cause instanceof errors.JWTClaimValidationFailed &&
    cause.claim === "nbf" &&
    cause.reason === "check_failed"
  ) {
    return "not-yet-valid";
  }
  return cause instanceof KeyUnknown ? "key-unknown" : "invalid";
}

/** Reasons that a new token can remove; the client's library then asks the application for one. */
const PASSING: ReadonlySet<TokenReason> = new Set(["expired", "not-yet-valid", "key-unknown", "revoked"]);

/** Makes the error for a refused token. It names the reason, and nothing of the token. */
export function tokenRefusal(reason: TokenReason, cause?: unknown): TidewireError {
  // Another token of the same kind would be refused again, so the client must not ask for one.
  const retry = PASSING.has(reason) ? "token" : "never";
  return new TidewireError("unauthenticated", TEXTS[reason], { reason }, { cause, retry });
}

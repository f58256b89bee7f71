import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose";
import { TidewireError } from "../protocol/errors.ts";
import { type ClaimsFault, claimsFault } from "./claims-bounds.ts";
import { JwksKeys, type KeysEvent, type KeysListener, KeyUnknown } from "./jwks-keys.ts";
import { loadPublicKey, secretKey, signedByOf, type VerifyKey } from "./keys.ts";
import type { JwtOptions } from "./options.ts";
import { type SubjectDigest, subjectOf } from "./subject.ts";
import { TokenCache } from "./token-cache.ts";

/** The user for whom a connection speaks. */
export interface Identity {
  /** The verified payload; rules see it as `%%user`. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** As `welcome` tells it. Compare users by `subject`. */
  readonly sub: string | null;
  /** The user, for every comparison and count (see `subjectOf`); `null` for a token without `sub`. */
  readonly subject: SubjectDigest | null;
  /** When the token runs out, in epoch milliseconds and never beyond what a `Date` can hold; `null` if never. */
  readonly expiresAtMs: number | null;
  /** When the token was issued (`iat`), in epoch milliseconds within what a `Date` can hold; `null` if it does not say. */
  readonly issuedAtMs: number | null;
  /** The token's `jti`; `null` if it has none. */
  readonly tokenId: string | null;
  /** The key under which the token was verified (see `isTrusted`). Says nothing outside the service. */
  readonly signedBy: string;
}

/** Why a token was not taken; `details.reason` of `unauthenticated`. */
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
   * @throws {TidewireError} `unauthenticated`, `details.reason` being a `TokenReason`; `unavailable` while no
   *   signing key has been had yet. The text tells nothing about token or key; the library's own error is the
   *   `cause`, for the log alone.
   */
  verify(token: string, nowMs?: number): Promise<Identity>;
  /**
   * Makes sure that `isTrusted` can tell, for an identity that was verified by another node.
   * @throws {TidewireError} `unavailable` while there is no key set.
   */
  ensureKeys(signedBy: string, nowMs: number): Promise<void>;
  /** Whether the key under which a token was verified is still in use. */
  isTrusted(signedBy: string): boolean;
  /** To be called about every second: keys are fetched again, and given up, also while no token is verified. */
  tick(nowMs: number): Promise<void>;
  /** How old the fetched key set is; `null` where none is fetched. */
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

/** The latest time that a `Date` can hold. A later `exp` is as good as this one, and no arithmetic overflows. */
const LATEST_MS = 8.64e15;

/**
 * Makes the one function that takes the tokens of an issuer. Algorithms and keys come from `options` alone: a token's header
 * chooses among them, and nothing in it is ever fetched or opened.
 * @param options One entry of `auth.jwt`.
 * @param onKeys Called at every change of the fetched key set, for the log.
 * @throws {KeyRefused} The key cannot be used; the text says why, without it.
 */
export function createVerifier(options: JwtOptions, onKeys: KeysListener = () => {}): Verifier {
  const cache = new TokenCache<Identity>(options.tokenCache);
  const issuers = options.issuer === undefined ? [] : listOf(options.issuer);
  const keyFor = keySource(options, (event) => {
    // Tokens that were verified under a key that is now retired must be verified again.
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
      // A fetch that is due (rotation) must not wait until some unknown token asks for it.
      await keyFor.refreshIfStale(nowMs);
      const { generation } = cache;
      const known = cache.get(token);
      const identity = known ?? (await verifyAnew(token, options, keyFor, nowMs));
      if (known === undefined) cache.set(token, identity, generation);
      else if (hasExpired(known, options.clockToleranceMs, nowMs)) {
        cache.delete(token);
        throw tokenRefusal("expired");
      }
      return identity;
    },
  };
}

/** Where everybody is anonymous. */
export const NO_TOKENS: Verifier = {
  verify: async (token) => Promise.reject(tokenRefusal(token === "" ? "missing" : "invalid")),
  ensureKeys: async () => {},
  isTrusted: () => false,
  tick: async () => {},
  keysAgeMs: () => null,
};

const PARTS = 3;

/**
 * Whether a token is written in the one way in which RFC 7515 spells it: three parts of base64url, without padding,
 * white space or the characters of ordinary base64, and without stray bits at the end of a part. The library decodes
 * all of those, so one genuine token would have many spellings, and a list of tokens could be passed by.
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

async function verifyAnew(
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
        return key.key;
      },
      checksOf(options, nowMs),
    );
    payload = verified.payload;
  } catch (cause) {
    if (cause instanceof TidewireError) throw cause;
    throw tokenRefusal(reasonOf(cause), cause);
  }
  const fault = claimsFault(payload, payloadBytes(token), options);
  if (fault !== undefined) throw tokenRefusal(fault);
  return identityOf(payload, signedBy);
}

/** Length of the JSON in a token (RFC 7515, 7.1: the second of three parts, in base64url). */
const payloadBytes = (token: string) => Math.floor(((token.split(".")[1] ?? "").length * 3) / 4);

/**
 * @throws {TidewireError} `unauthenticated`: a claim that says whose token it is has another type than RFC 7519
 * gives it.
 */
function identityOf(payload: JWTPayload, signedBy: string): Identity {
  const { iss, sub, exp, iat } = payload;
  // The library's type promises a string; some issuers count their tokens.
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
    // The library counts in seconds (RFC 7519, NumericDate); everything else here in milliseconds.
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

const PASSING: ReadonlySet<TokenReason> = new Set(["expired", "not-yet-valid", "key-unknown", "revoked"]);

/** The error for a refused token. It says why, and shows nothing of the token. */
export function tokenRefusal(reason: TokenReason, cause?: unknown): TidewireError {
  // Nobody gets further by asking for another token of the same kind.
  const retry = PASSING.has(reason) ? "token" : "never";
  return new TidewireError("unauthenticated", TEXTS[reason], { reason }, { cause, retry });
}

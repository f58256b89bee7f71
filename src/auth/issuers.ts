/**
 * Chooses the entry of `auth.jwt` that verifies a token. Several entries exist where several issuers sign tokens for
 * one service, each with its own keys. The `iss` of a token picks the entry before the signature is checked; the entry
 * then checks `iss` again as a signed claim, so a forged `iss` only leads to a refusal.
 */
import { createHash } from "node:crypto";
import type { KeysListener } from "./jwks-keys.ts";
import type { JwtOptions } from "./options.ts";
import { createVerifier, type Identity, NO_TOKENS, tokenRefusal, type Verifier } from "./verify-token.ts";

/**
 * One entry of `auth.jwt`. Its mark goes before the fingerprints of its keys, so that `isTrusted` asks the right entry.
 */
interface Entry {
  readonly mark: string;
  readonly verifier: Verifier;
}

/**
 * Verifies each token with the entry of its own `iss`, and with no other. Trying entries in turn would let the key of
 * one issuer sign tokens for another.
 * @param options The entries of `auth.jwt`; undefined where every client is anonymous.
 * @param onKeys Called at every change of a fetched key set.
 * @throws {KeyRefused} A key cannot be used. The text says why and does not contain the key.
 */
export function createVerifiers(options: readonly JwtOptions[] | undefined, onKeys?: KeysListener): Verifier {
  const [first, ...others] = options ?? [];
  if (first === undefined) return NO_TOKENS;
  if (others.length === 0) return createVerifier(first, onKeys);
  return new Issuers([first, ...others], onKeys);
}

class Issuers implements Verifier {
  readonly #byIssuer = new Map<string, Entry>();
  readonly #byMark = new Map<string, Verifier>();

  constructor(options: readonly JwtOptions[], onKeys: KeysListener | undefined) {
    for (const one of options) {
      const issuers = one.issuer === undefined ? [] : [one.issuer].flat();
      const entry = { mark: markOf(issuers), verifier: createVerifier(one, onKeys) };
      for (const issuer of issuers) this.#byIssuer.set(issuer, entry);
      this.#byMark.set(entry.mark, entry.verifier);
    }
  }

  async verify(token: string, nowMs?: number): Promise<Identity> {
    if (token === "") throw tokenRefusal("missing");
    const entry = this.#byIssuer.get(claimedIssuer(token) ?? "");
    if (entry === undefined)
      throw tokenRefusal("invalid", new TypeError("no entry of auth.jwt has this iss"));
    // The entry checks `iss` itself, against the signed claims.
    const identity = await entry.verifier.verify(token, nowMs);
    return { ...identity, signedBy: `${entry.mark} ${identity.signedBy}` };
  }

  async ensureKeys(signedBy: string, nowMs: number): Promise<void> {
    const [verifier, own] = this.#entryOf(signedBy);
    await verifier?.ensureKeys(own, nowMs);
  }

  isTrusted(signedBy: string): boolean {
    const [verifier, own] = this.#entryOf(signedBy);
    return verifier?.isTrusted(own) ?? false;
  }

  async tick(nowMs: number): Promise<void> {
    // `allSettled`: the failure of one issuer's server must not stop the refresh of the other key sets.
    const ticks = await Promise.allSettled(Array.from(this.#byMark.values(), (one) => one.tick(nowMs)));
    const failed = ticks.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  keysAgeMs(nowMs: number): number | null {
    const ages = Array.from(this.#byMark.values(), (one) => one.keysAgeMs(nowMs)).filter(
      (age) => age !== null,
    );
    // The oldest set decides, because the metric is there to show an issuer whose keys are no longer refreshed.
    return ages.length === 0 ? null : Math.max(...ages);
  }

  #entryOf(signedBy: string): [Verifier | undefined, string] {
    const at = signedBy.indexOf(" ");
    return [this.#byMark.get(signedBy.slice(0, at)), signedBy.slice(at + 1)];
  }
}

/**
 * Equal on every node with the same issuers, whatever the order of the entries: a single-use key carries `signedBy` from
 * the node that made it to the node that redeems it.
 */
const markOf = (issuers: readonly string[]): string =>
  createHash("sha256").update(JSON.stringify(issuers.toSorted())).digest("base64url").slice(0, 16);

/** The `iss` that a token claims, read before anything is verified; `undefined` if it claims none. */
function claimedIssuer(token: string): string | undefined {
  try {
    const payload: unknown = JSON.parse(
      Buffer.from(token.split(".", 2)[1] ?? "", "base64url").toString("utf8"),
    );
    const iss = typeof payload === "object" && payload !== null && "iss" in payload ? payload.iss : undefined;
    return typeof iss === "string" ? iss : undefined;
  } catch {
    // A text that is no token is refused in the same way as a token of an unknown issuer.
    return undefined;
  }
}

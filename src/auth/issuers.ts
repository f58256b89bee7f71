import { createHash } from "node:crypto";
import type { KeysListener } from "./jwks-keys.ts";
import type { JwtOptions } from "./options.ts";
import { createVerifier, type Identity, NO_TOKENS, tokenRefusal, type Verifier } from "./verify-token.ts";

/** One entry of `auth.jwt`, with the mark that its keys bear among those of other entries. */
interface Entry {
  readonly mark: string;
  readonly verifier: Verifier;
}

/**
 * Verifies each token by the entry of its own `iss`, and by no other: to try entries in turn would let the key of one
 * issuer sign for another.
 * @param options The entries of `auth.jwt`; undefined where everybody is anonymous.
 * @param onKeys Called at every change of a fetched key set.
 * @throws {KeyRefused} A key cannot be used; the text says why, without it.
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
    const ticks = await Promise.allSettled(Array.from(this.#byMark.values(), (one) => one.tick(nowMs)));
    const failed = ticks.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  keysAgeMs(nowMs: number): number | null {
    const ages = Array.from(this.#byMark.values(), (one) => one.keysAgeMs(nowMs)).filter(
      (age) => age !== null,
    );
    return ages.length === 0 ? null : Math.max(...ages);
  }

  #entryOf(signedBy: string): [Verifier | undefined, string] {
    const at = signedBy.indexOf(" ");
    return [this.#byMark.get(signedBy.slice(0, at)), signedBy.slice(at + 1)];
  }
}

/** Equal on every node with the same issuers, whatever the order of the entries is. */
const markOf = (issuers: readonly string[]): string =>
  createHash("sha256").update(JSON.stringify(issuers.toSorted())).digest("base64url").slice(0, 16);

/** The `iss` that a token claims, before anything of it is verified; `undefined` where it claims none. */
function claimedIssuer(token: string): string | undefined {
  try {
    const payload: unknown = JSON.parse(
      Buffer.from(token.split(".", 2)[1] ?? "", "base64url").toString("utf8"),
    );
    const iss = typeof payload === "object" && payload !== null && "iss" in payload ? payload.iss : undefined;
    return typeof iss === "string" ? iss : undefined;
  } catch {
    // Not a token at all: refused like one of an unknown issuer.
    return undefined;
  }
}

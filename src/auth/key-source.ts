/**
 * Checks where the keys of an `auth.jwt` entry come from. The checks run while the configuration is read, so that a
 * weak secret or an insecure URL stops the start instead of the first login. No text repeats the secret.
 */
import type { z } from "zod";
import { isLoopback } from "../protocol/is-loopback.ts";
import { type Algorithm, familiesOf } from "./algorithms.ts";

/** The options that name a key. Exactly one source must be set, and it must fit the algorithms. */
interface KeySource {
  algorithms: readonly Algorithm[];
  secret?: string | undefined;
  publicKey?: string | undefined;
  jwksUri?: string | undefined;
}

/** Reports faults of a key source that span several options into `context`. */
export function checkKeySource(options: KeySource, context: z.RefinementCtx): void {
  const problem = (key: string, message: string) =>
    context.addIssue({ code: "custom", path: [key], message });
  const symmetric = familiesOf(options.algorithms).includes("HS");
  const named = (["secret", "publicKey", "jwksUri"] as const).filter((key) => options[key] !== undefined);
  const [first, second] = named;
  const wanted = symmetric
    ? // biome-ignore lint/suspicious/noTemplateCurlyInString: the file's own syntax for an environment variable.
      "secret: ${TIDEWIRE_JWT_SECRET}"
    : "publicKey: /path/to/key.pem, or jwksUri: https://…";
  if (first === undefined) {
    problem("algorithms", `a key for ${options.algorithms.join(", ")} beside the algorithms. Add ${wanted}`);
  } else if (second !== undefined) {
    problem(second, `one source of keys, not ${named.join(" and ")}. Remove all but one`);
  } else if ((first === "secret") !== symmetric) {
    problem(first, `a key that fits ${options.algorithms.join(", ")}. Write ${wanted} instead of ${first}`);
  } else if (first === "publicKey" && familiesOf(options.algorithms).length > 1) {
    problem(
      "algorithms",
      "one family (RS*, PS*, ES* or EdDSA) where one publicKey verifies. Keep the key's own",
    );
  }
  if (options.secret !== undefined && symmetric) {
    const text = secretProblem(options.secret, options.algorithms);
    if (text !== undefined) problem("secret", text);
  }
  if (options.jwksUri !== undefined) {
    const text = jwksUriProblem(options.jwksUri);
    if (text !== undefined) problem("jwksUri", text);
  }
}

/** Why a text cannot be the shared secret; `undefined` if it can. The text does not repeat the secret. */
export function secretProblem(secret: string, algorithms: readonly Algorithm[]): string | undefined {
  // Public keys are not secret. If one were used as an HS secret, everyone who knows it could sign tokens (RFC 8725,
  // 2.1).
  if (/-----BEGIN |^ssh-|^\s*\{/.test(secret)) {
    return "a random text, not a key as PEM or JWK. Use publicKey with RS*, ES*, PS* or EdDSA for that";
  }
  const bytes = new TextEncoder().encode(secret).length;
  // RFC 7518, 3.2, requires a key at least as long as the hash: 32 bytes for HS256.
  const needed = Math.max(...algorithms.map((name) => Number(name.slice(2)) / 8));
  if (bytes >= needed) return undefined;
  return `at least ${needed} bytes for ${algorithms.join(", ")} (RFC 7518, 3.2), this has ${bytes}. Make one with \`openssl rand -base64 48\``;
}

/** Why keys may not be fetched from a URL; `undefined` if they may. */
export function jwksUriProblem(uri: string): string | undefined {
  const allowed = "an https URL (http only on loopback) or file:///path/jwks.json";
  if (!URL.canParse(uri))
    return `${allowed}. Write for example jwksUri: https://login.example.com/.well-known/jwks.json`;
  const { protocol, hostname, username, password } = new URL(uri);
  if (username !== "" || password !== "") return `${allowed}, without user and password in it. Remove them`;
  if (protocol === "https:" || protocol === "file:") return undefined;
  if (protocol === "http:" && isLoopback(hostname)) return undefined;
  return `${allowed}: anyone who can change the answer in transit could sign tokens. Use https`;
}

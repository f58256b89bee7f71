/** The tokens of virtual users: signed here for each user, read from a file, or none. */
import { createPrivateKey, createSecretKey, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { SignJWT } from "jose";
import { UsageError } from "../command.ts";

/** Shorter secrets can be guessed, and the service refuses them for HS256 (RFC 7518, section 3.2). */
const SECRET_BYTES_MIN = 32;

/** The tokens of a run, in a form that threads receive. */
export type Credentials =
  | { readonly kind: "none" }
  | { readonly kind: "tokens"; readonly tokens: readonly string[] }
  | {
      readonly kind: "secret" | "key";
      /** The secret, or the private key in PEM. */
      readonly secret: string;
      readonly algorithm: string;
      readonly keyId: string | undefined;
      readonly lifeMs: number;
    };

/** The options of the command line that concern tokens. */
export interface CredentialFlags {
  readonly secretFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly tokens: string | undefined;
  readonly keyId: string | undefined;
  readonly lifeMs: number;
}

/** The variable that `tidewire init` writes the secret of the configuration to. */
export const SECRET_VARIABLE = "TIDEWIRE_JWT_SECRET";

/**
 * Reads the secret, the key or the tokens.
 * @throws {UsageError} A file cannot be read or used.
 */
export async function readCredentials(
  { secretFile, keyFile, tokens, keyId, lifeMs }: CredentialFlags,
  env: NodeJS.ProcessEnv,
): Promise<Credentials> {
  const given = [secretFile, keyFile, tokens].filter((flag) => flag !== undefined);
  if (given.length > 1) throw new UsageError("give one of --secret-file, --key-file and --tokens");
  if (tokens !== undefined) return { kind: "tokens", tokens: await readTokens(tokens) };
  if (keyFile !== undefined) {
    const secret = await readFlagFile("key-file", keyFile);
    return { kind: "key", secret, algorithm: algorithmOf(keyFile, secret), keyId, lifeMs };
  }
  const secret =
    secretFile === undefined
      ? env[SECRET_VARIABLE]
      : (await readFlagFile("secret-file", secretFile)).replace(/\r?\n$/, "");
  if (secret === undefined || secret === "") {
    if (secretFile === undefined) return { kind: "none" };
    throw new UsageError(`--secret-file ${secretFile} is empty`);
  }
  if (Buffer.byteLength(secret) < SECRET_BYTES_MIN) {
    const name = secretFile === undefined ? SECRET_VARIABLE : `--secret-file ${secretFile}`;
    throw new UsageError(
      `${name} has fewer than ${SECRET_BYTES_MIN} bytes: give the secret that auth.jwt of the service has`,
    );
  }
  return { kind: "secret", secret, algorithm: "HS256", keyId, lifeMs };
}

/** Gives each virtual user a token. */
export class TokenSource {
  readonly #credentials: Credentials;
  readonly #key: KeyObject | undefined;

  constructor(credentials: Credentials) {
    this.#credentials = credentials;
    const { kind } = credentials;
    if (kind === "secret") this.#key = createSecretKey(Buffer.from(credentials.secret));
    else if (kind === "key") this.#key = createPrivateKey(credentials.secret);
  }

  /** A function that gives a token of a user; `undefined` if users are anonymous. */
  of(i: number, claims: Record<string, unknown>): (() => Promise<string>) | undefined {
    const credentials = this.#credentials;
    if (credentials.kind === "none") return undefined;
    if (credentials.kind === "tokens") {
      const token = credentials.tokens[i % credentials.tokens.length] ?? "";
      return async () => token;
    }
    const { algorithm, keyId, lifeMs } = credentials;
    return () => {
      const nowSeconds = Math.floor(Date.now() / 1_000);
      const times = { iat: nowSeconds, exp: nowSeconds + Math.floor(lifeMs / 1_000) };
      const kid = keyId === undefined ? {} : { kid: keyId };
      return new SignJWT({ ...times, ...claims })
        .setProtectedHeader({ alg: algorithm, typ: "JWT", ...kid })
        .sign(this.#key as KeyObject); // set for both kinds that sign
    };
  }
}

async function readTokens(file: string): Promise<string[]> {
  const lines = (await readFlagFile("tokens", file)).split("\n").map((line) => line.trim());
  const tokens = lines.filter((line) => line !== "");
  const at = lines.findIndex((line) => line !== "" && !/^[\w-]+\.[\w-]+\.[\w-]*$/.test(line));
  if (at >= 0)
    throw new UsageError(`--tokens ${file}: line ${at + 1} is not a token. Write one token per line`);
  if (tokens.length === 0) throw new UsageError(`--tokens ${file} has no token. Write one token per line`);
  return tokens;
}

/** The algorithm of a private key (RFC 7518, section 3.1; RFC 8037). */
function algorithmOf(file: string, pem: string): string {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new UsageError(
      `--key-file ${file} is not a private key in PEM. For HS256 give the secret by --secret-file`,
      { cause },
    );
  }
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType === "rsa") return "RS256";
  if (key.asymmetricKeyType === "ed25519") return "EdDSA";
  if (curve === "prime256v1") return "ES256";
  if (curve === "secp384r1") return "ES384";
  throw new UsageError(
    `--key-file ${file} is of a kind that is not used here: take RSA, P-256, P-384 or Ed25519`,
  );
}

async function readFlagFile(flag: string, file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : cause;
    throw new UsageError(`--${flag} ${file} cannot be read (${code})`, { cause });
  }
}

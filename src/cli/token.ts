import { parseArgs } from "node:util";
import { SignJWT } from "jose";
import { familiesOf } from "../auth/algorithms.ts";
import type { JwtOptions } from "../auth/options.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { parseDuration } from "../config/units.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command, UsageError } from "./command.ts";

const HELP = `Usage: tidewire token --sub USER [options]

Creates a token for development, signed with the secret of the configuration (auth.jwt, HS* only).
Of several entries the one signs that has the claim iss, else the first with a secret.
In production your login service issues the tokens.

Options:
      --sub USER        the user of the token (%%user.sub in rules)
      --claim KEY=JSON  another claim; may be repeated. A value that is not JSON is taken as a string
      --expires TIME    lifetime, such as 30s, 15m, 8h (default 1h)
  -c, --config FILE     the configuration (default config/tidewire.yaml)

Examples:
  tidewire token --sub u1
  tidewire token --sub u2 --claim roles='["admin"]' --claim org='{"id":5}' --expires 8h`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...CONFIG_FLAG,
      sub: { type: "string" },
      claim: { type: "string", multiple: true, default: [] },
      expires: { type: "string", default: "1h" },
    },
  });
  const lifeMs = parseDuration(values.expires);
  if (lifeMs === undefined || lifeMs < 1_000) {
    throw new UsageError("--expires takes a duration of at least a second, such as 30s, 15m or 8h");
  }
  const claims = Object.fromEntries(values.claim.map(readClaim));
  const config = await loadConfig(values.config, io.env);
  const signer = signerOf(config, claims["iss"]);
  if (typeof signer === "string") {
    io.err(signer);
    return 1;
  }
  const subject = values.sub === undefined ? {} : { sub: values.sub };
  io.out(await sign(signer, { ...claims, ...subject }, io.now(), lifeMs));
  return 0;
}

function readClaim(text: string): [string, unknown] {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError("--claim takes KEY=JSON, such as --claim roles='[\"admin\"]'");
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value)];
  } catch {
    // A value that is not JSON is a text, as in `--claim name=Ada`.
    return [text.slice(0, at), value];
  }
}

/** The entry of `auth.jwt` that can sign here, or the reason why there is none. */
function signerOf({ auth: { jwt } }: Config, iss: unknown): JwtOptions | string {
  if (jwt === undefined)
    return "This configuration takes no tokens: auth.jwt is not set, everybody is anonymous.";
  const own = jwt.filter(
    ({ issuer }) => iss === undefined || issuer === undefined || [issuer].flat().includes(String(iss)),
  );
  const signer = own.find(({ algorithms }) => familiesOf(algorithms).includes("HS"));
  if (signer !== undefined) return signer;
  const [entry] = own;
  if (entry === undefined)
    return "No entry of auth.jwt has this iss. Leave the claim out, or write one of the issuers.";
  return (
    `This configuration verifies ${entry.algorithms.join(", ")} with a public key. Only the holder of the private key can ` +
    "sign for it: get a token from your login service, or use a development configuration with HS256 and a secret."
  );
}

function sign(
  { algorithms: [alg = "HS256"], issuer, audience, secret = "" }: JwtOptions,
  claims: Record<string, unknown>,
  nowMs: number,
  lifeMs: number,
): Promise<string> {
  const first = (value: string | readonly string[]) => (typeof value === "string" ? value : value[0]);
  const nowSeconds = Math.floor(nowMs / 1_000);
  return new SignJWT({
    ...(issuer === undefined ? {} : { iss: first(issuer) }),
    ...(audience === undefined ? {} : { aud: first(audience) }),
    iat: nowSeconds,
    exp: nowSeconds + Math.floor(lifeMs / 1_000),
    ...claims,
  })
    .setProtectedHeader({ alg, typ: "JWT" })
    .sign(new TextEncoder().encode(secret));
}

/** `tidewire token`: signs a token for development. */
export const token: Command = { help: HELP, run };

import { parseArgs } from "node:util";
import { SignJWT } from "jose";
import { familiesOf } from "../auth/algorithms.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { parseDuration } from "../config/units.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command, UsageError } from "./command.ts";

const HELP = `Usage: tidewire token --sub USER [options]

Creates a token for development, signed with the secret of the configuration (auth.jwt, HS* only).
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
  const refusal = refusalFor(config);
  if (refusal !== undefined) {
    io.err(refusal);
    return 1;
  }
  const subject = values.sub === undefined ? {} : { sub: values.sub };
  io.out(await sign(config, { ...claims, ...subject }, io.now(), lifeMs));
  return 0;
}

function readClaim(text: string): [string, unknown] {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError("--claim takes KEY=JSON, such as --claim roles='[\"admin\"]'");
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value)];
  } catch {
    // Not JSON: `--claim name=Ada` is meant as a text.
    return [text.slice(0, at), value];
  }
}

function refusalFor({ auth: { jwt } }: Config): string | undefined {
  if (jwt === undefined)
    return "This configuration takes no tokens: auth.jwt is not set, everybody is anonymous.";
  if (familiesOf(jwt.algorithms).includes("HS")) return undefined;
  return (
    `This configuration verifies ${jwt.algorithms.join(", ")} with a public key. Only the holder of the private key can ` +
    "sign for it: get a token from your login service, or use a development configuration with HS256 and a secret."
  );
}

function sign(
  config: Config,
  claims: Record<string, unknown>,
  nowMs: number,
  lifeMs: number,
): Promise<string> {
  const { jwt } = config.auth;
  const [alg = "HS256"] = jwt?.algorithms ?? [];
  const first = (value: string | readonly string[]) => (typeof value === "string" ? value : value[0]);
  const nowSeconds = Math.floor(nowMs / 1_000);
  return new SignJWT({
    ...(jwt?.issuer === undefined ? {} : { iss: first(jwt.issuer) }),
    ...(jwt?.audience === undefined ? {} : { aud: first(jwt.audience) }),
    iat: nowSeconds,
    exp: nowSeconds + Math.floor(lifeMs / 1_000),
    ...claims,
  })
    .setProtectedHeader({ alg, typ: "JWT" })
    .sign(new TextEncoder().encode(jwt?.secret ?? ""));
}

/** `tidewire token`: signs a token for development. */
export const token: Command = { help: HELP, run };

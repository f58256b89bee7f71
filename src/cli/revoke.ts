import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { type Config, loadConfig } from "../config/config.ts";
import { namespacesOf } from "../config/namespaces.ts";
import { formatSize, parseDuration } from "../config/units.ts";
import { followStateOf } from "../follow-revocations.ts";
import { type AuditEntry, AuditStore } from "../source/audit-store.ts";
import type { MongoAccess } from "../source/mongo.ts";
import { preflightFollowState } from "../source/preflight.ts";
import { type Revocation, RevocationStore, revocationBytes } from "../source/revocation-store.ts";
import type { Io } from "../terminal/io.ts";
import { adminTokenOf, adminUrl } from "./ask-node.ts";
import { CONFIG_FLAG, type Command, UsageError } from "./command.ts";
import { dateOf, textOf } from "./revocation-text.ts";
import { type AskedRevocation, revokeAtNode, UNCONFIRMED } from "./revoke-at-node.ts";
import { type NoteAct, withStateDatabase } from "./state-database.ts";
import { userName } from "./user-name.ts";

const HELP = `Usage: tidewire revoke --sub SUB [options]
       tidewire revoke --list
       tidewire revoke --undo --sub SUB [--jti ID] [--iss ISSUER]

Revokes tokens before they expire. It writes to the state database (mongodb.stateDatabase) with the configuration's own
connection, and every node follows it through its change stream. At this commit the connections of such tokens close with 4102 and
receive nothing of later commits. The tokens are refused from then on, on every transport.

Without --jti, every token of the user whose iat is not later than --issued-before is revoked, and every token without
iat. iat counts seconds: a token issued within the second of the revocation is refused, too; a token of the next second is
not. The times are compared as they are: if the issuer's clock is ahead of this machine's, name a later time.

Options:
      --sub SUB             the user, as in the token's sub
      --iss ISSUER          only tokens of this issuer; without it, of every issuer
      --issued-before TIME  now (the default), or a date such as 2026-05-04T12:00:00Z
      --jti ID              only the token with this jti
      --for DURATION        how long the revocation is kept (default 30d); at least the lifetime of the longest token
      --list                print the revocations in force
      --undo                remove a revocation
      --admin URL           let a running node do it, by its admin listener: needs no configuration, but an admin
                            token with the role act in TIDEWIRE_ADMIN_TOKEN (view for --list)
  -c, --config FILE         the configuration (default config/tidewire.yaml)

Either way the audit keeps who did it.

Exit code 1: nodes of this configuration do not follow revocations (auth.revocation), so nothing is refused.
With mongodb.uri "embedded", use --admin, or stop the service first: its mongod runs only with it.

Examples:
  tidewire revoke --sub ada
  tidewire revoke --sub ada --iss https://login.example.com/ --issued-before 2026-05-04T12:00:00Z
  tidewire revoke --sub ada --jti 0b6f --for 2d
  tidewire revoke --list
  tidewire revoke --undo --sub ada`;

const OPTIONS = {
  ...CONFIG_FLAG,
  sub: { type: "string" },
  iss: { type: "string" },
  jti: { type: "string" },
  "issued-before": { type: "string" },
  for: { type: "string" },
  list: { type: "boolean", default: false },
  undo: { type: "boolean", default: false },
  admin: { type: "string" },
} as const;

type Which = Pick<Revocation, "sub" | "iss" | "jti">;

interface Read {
  readonly asked: AskedRevocation;
  readonly configPath: string;
  /** The admin listener of a node; without one, the command works on the state database itself. */
  readonly admin: string | undefined;
}

function readArgs(args: readonly string[], nowMs: number): Read {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const { config: configPath, list, undo, sub, iss = null, jti = null, admin } = values;
  const given = (names: readonly (keyof typeof values)[]) =>
    names.filter((name) => values[name] !== undefined && values[name] !== false);
  if (list) {
    const [other] = given(["sub", "iss", "jti", "issued-before", "for", "undo"]);
    if (other !== undefined) throw new UsageError(`--list goes without --${other}`);
    return { configPath, admin, asked: { do: "list" } };
  }
  if (sub === undefined || sub === "") throw new UsageError("name the user with --sub, or use --list");
  const which = { sub, iss, jti };
  if (undo) {
    const [other] = given(["issued-before", "for"]);
    if (other !== undefined) throw new UsageError(`--undo goes without --${other}`);
    return { configPath, admin, asked: { do: "undo", which } };
  }
  if (jti !== null && values["issued-before"] !== undefined)
    throw new UsageError("--jti names one token, so --issued-before says nothing: leave one of them out");
  const forMs = parseDuration(values.for ?? "30d");
  if (forMs === undefined || forMs === 0)
    throw new UsageError("--for takes a duration in whole s, m, h or d: --for 30d");
  const issuedBeforeMs = jti === null ? timeOf(values["issued-before"] ?? "now", nowMs) : null;
  const revocation = { ...which, issuedBeforeMs, expiresAtMs: nowMs + forMs };
  return { configPath, admin, asked: { do: "revoke", revocation } };
}

function timeOf(text: string, nowMs: number): number {
  if (text === "now") return nowMs;
  const ms = Date.parse(text);
  // A date without a zone would mean the time zone of this machine.
  if (Number.isNaN(ms) || !/(Z|[+-]\d\d:?\d\d)$/.test(text))
    throw new UsageError(
      "--issued-before takes now, or a date with its zone: --issued-before 2026-05-04T12:00:00Z",
    );
  return ms;
}

async function run(args: readonly string[], io: Io): Promise<number> {
  const nowMs = io.now();
  const { asked, configPath, admin } = readArgs(args, nowMs);
  if (admin !== undefined)
    return revokeAtNode({ url: adminUrl(admin), token: adminTokenOf(io, "") }, asked, io);
  const config = await loadConfig(configPath, io.env);
  return withStateDatabase(config, async (client, database, acting) => {
    const store = new RevocationStore(database);
    if (asked.do === "list") return list(store, io, nowMs);
    const audit = new AuditStore(database, hostname(), config.server.admin.auditForMs);
    if (asked.do === "undo") {
      await audit.add(entryOf("undo-revocation", asked.which), nowMs);
      acting(UNCONFIRMED);
      return undo(store, asked.which, io);
    }
    return revoke({ audit, store, client, config, io, nowMs, acting }, asked.revocation);
  });
}

interface Parts {
  readonly audit: AuditStore;
  readonly store: RevocationStore;
  readonly client: MongoAccess;
  readonly config: Config;
  readonly io: Io;
  readonly nowMs: number;
  readonly acting: NoteAct;
}

async function revoke(
  { audit, store, client, config, io, nowMs, acting }: Parts,
  revocation: Revocation,
): Promise<number> {
  const { revocationBytes: most } = config.auth;
  if ((await store.bytes(nowMs)) + revocationBytes(revocation) > most) {
    io.err(
      `nothing was revoked: the revocations in force would take more than auth.revocationBytes (${formatSize(most)}), and no ` +
        "node would accept a token. Raise it and restart the nodes, undo some (--list, --undo), or retire the signing key",
    );
    return 1;
  }
  await audit.add(entryOf("revoke", revocation), nowMs);
  acting(UNCONFIRMED);
  await store.revoke(revocation);
  acting(null);
  // Only to save space; the user may lack the right, and nodes pass over expired ones anyway.
  await store.cleanUp(nowMs).catch(() => {});
  io.out(`revoked until ${dateOf(revocation.expiresAtMs)}: ${textOf(revocation)}`);
  const why = await whyNotFollowed(client, config);
  if (why === null) return 0;
  io.err(`no node of this configuration follows revocations, so these tokens are still accepted: ${why}`);
  return 1;
}

/** The entry of the audit for an act of this command. The rights of its MongoDB user allow it, not a token. */
function entryOf(act: string, { sub, iss, jti }: Which): AuditEntry {
  return { admin: `command line: ${userName()}`, act, target: { sub, iss, jti }, from: hostname() };
}

/** The same decision as a node makes at its start. */
async function whyNotFollowed(client: MongoAccess, config: Config): Promise<string | null> {
  const followState = followStateOf(config);
  if (config.auth.jwt === undefined) return "there is no auth.jwt, every client is anonymous";
  if (config.auth.revocation === "off") return "auth.revocation is off";
  return preflightFollowState(client, { collections: namespacesOf(config), followState });
}

async function undo(store: RevocationStore, which: Which, io: Io): Promise<number> {
  if (await store.undo(which)) {
    io.out("the revocation is undone: such tokens are accepted again until they expire");
    return 0;
  }
  io.err(
    "there is no such revocation; --list prints those in force, and --iss and --jti have to be the same",
  );
  return 1;
}

async function list(store: RevocationStore, io: Io, nowMs: number): Promise<number> {
  const revocations = await store.list(nowMs);
  for (const revocation of revocations) {
    io.out(`${textOf(revocation)}, until ${dateOf(revocation.expiresAtMs)}`);
  }
  if (revocations.length === 0) io.out("nothing is revoked");
  return 0;
}

/** `tidewire revoke`: revokes tokens before they expire. */
export const revokeTokens: Command = { help: HELP, run };

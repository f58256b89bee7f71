import { parseArgs } from "node:util";
import { digestOf, newSecret } from "../admin/access/digest.ts";
import { ADMIN_ROLES, type AdminRole } from "../gateway/admin-options.ts";
import { closest } from "../match/did-you-mean.ts";
import type { Io } from "../terminal/io.ts";
import { type Command, UsageError } from "./command.ts";

const HELP = `Usage: tidewire admin-token --name NAME --role ROLE [--role ROLE]

Makes a token for an admin or a script: a secret of 32 random bytes, and the entry of server.admin.tokens that accepts
it. The entry holds only the SHA-256 of the secret. The secret is printed this once and saved nowhere.

Options:
      --name NAME   the name of its holder, which the audit shows
      --role ROLE   view: see everything but documents; act: disconnect, re-authorize, revoke; edit: rules;
                    documents: see the contents of documents. May be repeated
      --json        print JSON, for machines

Examples:
  tidewire admin-token --name ada --role view --role act
  TIDEWIRE_ADMIN_TOKEN=SECRET tidewire plan --config new.yaml --admin http://127.0.0.1:8481`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      name: { type: "string" },
      role: { type: "string", multiple: true, default: [] },
      json: { type: "boolean" },
    },
  });
  const { name } = values;
  if (name === undefined || !/^[\w.@-]{1,64}$/.test(name))
    throw new UsageError("--name takes a name of letters, digits and . _ @ -, at most 64 characters");
  if (values.role.length === 0) throw new UsageError(`--role takes one of ${ADMIN_ROLES.join(", ")}`);
  const roles = [...new Set(values.role.map(readRole))];
  // The prefix lets scanners of repositories and logs recognize the secret.
  const secret = `tidewire_admin_${newSecret()}`;
  const entry = { name, sha256: digestOf(secret).toString("hex"), roles };
  if (values.json) io.out(JSON.stringify({ secret, entry }, null, 2));
  else {
    io.out(`The secret, for Authorization: Bearer or TIDEWIRE_ADMIN_TOKEN:

  ${secret}

The entry of the configuration; restart the nodes afterwards:

server:
  admin:
    tokens:
      - name: ${JSON.stringify(name)}
        sha256: ${entry.sha256}
        roles: [${roles.join(", ")}]`);
  }
  return 0;
}

function readRole(text: string): AdminRole {
  const role = ADMIN_ROLES.find((known) => known === text);
  if (role !== undefined) return role;
  const near = closest(text, [...ADMIN_ROLES]);
  const guess = near === undefined ? "" : `. Did you mean ${near}?`;
  throw new UsageError(`--role takes one of ${ADMIN_ROLES.join(", ")}${guess}`);
}

/** `tidewire admin-token`: makes a token for an admin. */
export const adminToken: Command = { help: HELP, run };

// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import type { FoundCollection } from "./read-deployment.ts";

/** The content of a first configuration. */
export interface FirstConfig {
  readonly database: string;
  readonly collections: readonly FoundCollection[];
  readonly leftOut: readonly string[];
  /** The port of the backend that serves the page. */
  readonly pagePort: number;
}

/** A configuration whose rules grant nothing until they are edited. */
export function configText({ database, collections, leftOut, pagePort }: FirstConfig): string {
  const origins = ["localhost", "127.0.0.1"].map((host) => JSON.stringify(`http://${host}:${pagePort}`));
  return `# Every option is explained in node_modules/tidewire/docs/configuration.md.
# Check an edit with: npx tidewire check. A running service applies it as soon as you save the file.

mongodb:
  uri: "\${MONGODB_URI}" # from .env
  database: ${JSON.stringify(database)}

server:
  host: 127.0.0.1
  port: 8480
  # Web pages that may connect.
  origins: [${origins.join(", ")}]

auth:
  jwt:
    algorithms: [HS256]
    secret: "\${TIDEWIRE_JWT_SECRET}" # from .env; the backend signs with the same one

# "rules: []" means that nobody may read the collection. The first rule whose "when" holds applies, alone.
${leftOut.length === 0 ? "" : `# Left out, because change streams do not report them: ${leftOut.join(", ")}\n`}collections:
${collections.map((collection, index) => collectionText(collection, index === 0)).join("\n")}`;
}

function collectionText({ name, owner }: FoundCollection, isFirst: boolean): string {
  const { field = "userId", isObjectId = false } = owner ?? {};
  const intro = isFirst
    ? "    # To let users read their own documents, delete the line above and remove # from these three:\n"
    : "";
  return `  ${keyText(name)}:
    rules: []
${intro}    # rules:
    #   - name: own
    #     filter: { ${keyText(field)}: "%%${isObjectId ? "oid:" : ""}user.sub" }
`;
}

const keyText = (name: string) =>
  /^[A-Za-z_][\w-]*$/.test(name) && !RESERVED.test(name) ? name : JSON.stringify(name);

/** YAML reads these as something else than a string, some of them only in version 1.1. */
const RESERVED = /^(?:true|false|null|yes|no|on|off|y|n)$/i;

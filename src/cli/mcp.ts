import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { parseSize } from "../config/units.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { adminUrl } from "./ask-node.ts";
import { CONFIG_FLAG, type Command, UsageError } from "./command.ts";
import { defaultDrafts, homeFolders } from "./mcp/default-drafts.ts";
import type { McpSettings } from "./mcp/settings.ts";
import { readStarted } from "./mcp/started-config.ts";
import { DEFAULT_SERVICE_URL, serviceUrl } from "./service-url.ts";

const HELP = `Usage: tidewire mcp [options]

Offers check, explain, plan, test-rules and tail as tools to agents, over the Model Context Protocol on standard input
and output. The tools only read: they write nothing to MongoDB, to the rules or to files. They never show secrets.
Needs the package @modelcontextprotocol/server.

Options:
  -c, --config FILE      the configuration (default config/tidewire.yaml)
      --drafts DIR       the folder below which tools may read drafts and tests: .yaml, .yml and .json (default: the
                         working directory, unless that contains the home directory)
      --url URL          the service that tail asks (default ws://127.0.0.1:8480), with the token in TIDEWIRE_TOKEN
      --admin URL        a running node, by its admin listener: plan counts its subscriptions. Needs an admin token with
                         the role edit: from TIDEWIRE_ADMIN_TOKEN, or else server.admin.token of --config
      --max-output SIZE  the longest answer of a tool, 4KiB to 1MiB (default 32KiB); a longer one is cut, with a note

Examples:
  tidewire mcp --config config/tidewire.yaml
  tidewire mcp --url wss://live.example.com --admin http://127.0.0.1:8481
  claude mcp add tidewire -- npx tidewire mcp

It ends when its client closes standard input. docs/mcp.md shows the settings of the usual clients.`;

const OUTPUT_MIN = 4_096;
const OUTPUT_MAX = 1_048_576;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...CONFIG_FLAG,
      drafts: { type: "string" },
      url: { type: "string", default: DEFAULT_SERVICE_URL },
      admin: { type: "string" },
      "max-output": { type: "string", default: "32KiB" },
    },
  });
  const settings: McpSettings = {
    started: await readStarted(values.config),
    draftFolder:
      values.drafts === undefined ? defaultDrafts(process.cwd(), homeFolders()) : resolve(values.drafts),
    serviceUrl: serviceUrl(values.url),
    adminUrl: values.admin === undefined ? null : adminUrl(values.admin),
    outputMax: outputFlag(values["max-output"]),
    env: io.env,
    now: io.now,
  };
  const { serveTools } = await loadServer();
  const abort = new AbortController();
  const stop = () => abort.abort();
  io.signal?.addEventListener("abort", stop);
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await serveTools(settings, (text) => io.err(`tidewire mcp: ${text}`), abort.signal);
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
  return 0;
}

function outputFlag(text: string): number {
  const size = parseSize(text);
  if (size === undefined || size < OUTPUT_MIN || size > OUTPUT_MAX)
    throw new UsageError("--max-output takes a size from 4KiB to 1MiB, such as 32KiB");
  return size;
}

/** The package is an optional dependency, because few installations need it. */
async function loadServer(): Promise<typeof import("./mcp/serve-tools.ts")> {
  try {
    return await import("./mcp/serve-tools.ts");
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND")) throw cause;
    const text = "needs a package that is not installed: npm install @modelcontextprotocol/server@2";
    throw new StartupError(text, [], { cause });
  }
}

/** `tidewire mcp`: tools for agents. */
export const mcp: Command = { help: HELP, run };

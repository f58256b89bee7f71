/** `tidewire mcp` as agents start it: a process, with the SDK's own client on its standard input and output. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { onTestFinished } from "vitest";
import { stringify } from "yaml";
import { ROOT } from "./build.ts";

export const MCP_MAIN = join(ROOT, "dist", "cli", "main.js");

/** A call may wait for MongoDB on a loaded machine. */
const ANSWER_WITHIN_MS = 120_000;

export interface McpOptions {
  readonly config: object;
  /** Further files of its folder, by name. */
  readonly files?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** `auto` speaks the newest revision of the protocol, `legacy` those before 2026. */
  readonly mode?: "auto" | "legacy";
}

/** The result of a call, as far as tests look at it. */
export interface McpAnswer {
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: each tool has another output, which the test knows.
  readonly data: any;
  readonly isError: boolean;
}

/** A folder with `tidewire.yaml` and other files. */
export async function mcpFolder(
  config: object,
  files: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-mcp-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries({ "tidewire.yaml": stringify(config), ...files }))
    await writeFile(join(folder, name), text);
  return folder;
}

/** Starts the server in a folder of its own, and connects. */
export async function startMcp({ config, files, args = [], env = {}, mode = "auto" }: McpOptions) {
  const folder = await mcpFolder(config, files);
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MCP_MAIN, "mcp", "--config", "tidewire.yaml", ...args],
    cwd: folder,
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stderr: "pipe",
  });
  /** Everything that the server has written, to either output. */
  const written: string[] = [];
  transport.stderr?.on("data", (data: Buffer) => written.push(String(data)));
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  onTestFinished(() => client.close());
  await client.connect(transport);
  const received = transport.onmessage;
  transport.onmessage = (message) => {
    written.push(JSON.stringify(message));
    received?.(message);
  };
  const call = async (name: string, input: Record<string, unknown> = {}): Promise<McpAnswer> => {
    const result = await client.callTool({ name, arguments: input }, { timeout: ANSWER_WITHIN_MS });
    const [first] = result.content;
    return {
      text: first?.type === "text" ? first.text : "",
      data: result.structuredContent,
      isError: result.isError === true,
    };
  };
  return { client, call, folder, written, pid: transport.pid };
}

/**
 * The configuration in force, as the server read it at its start. An agent may edit the file afterwards. A later text is
 * therefore a draft of the agent: it receives no secrets and opens no connection.
 */
import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { ConfigError, readConfigFile } from "../../config/config.ts";
import { DRAFT_MAX, readRegularFile } from "./draft-files.ts";
import { ToolError } from "./tool.ts";

export interface StartedConfig {
  /** The file as the admin named it. */
  readonly file: string;
  /** Its text at the start of the server; `null` if it could not be read then. */
  readonly text: string | null;
  /** Its absolute path, without links. */
  readonly realFile: string;
}

/** Reads the configuration when the server starts. The server also starts without one, because `tail` needs none. */
export async function readStarted(file: string): Promise<StartedConfig> {
  return { file, text: await textOrNull(file), realFile: (await realpathOrNull(file)) ?? resolve(file) };
}

async function textOrNull(file: string): Promise<string | null> {
  try {
    return await readConfigFile(file);
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

async function realpathOrNull(file: string): Promise<string | null> {
  try {
    return await realpath(file);
  } catch {
    return null; // reading the file reports why
  }
}

/**
 * The text of the file at this moment.
 * @throws {ConfigError | ToolError} It cannot be read, or is another file than at the start.
 */
export async function currentText({ file, text, realFile }: StartedConfig): Promise<string> {
  const path = await realpathOrNull(file);
  if (path === null) return readConfigFile(file);
  // Through a new link, an agent would read a file outside of the folder of drafts.
  if (path !== realFile)
    throw new ToolError(
      `${file} leads to another file than when this server started. Restart the server to use that file`,
    );
  return readRegularFile(path, file, Math.max(DRAFT_MAX, Buffer.byteLength(text ?? "")));
}

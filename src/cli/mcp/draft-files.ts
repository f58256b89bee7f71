/**
 * The files that a tool may read for an agent: drafts and tests below one folder. The path is text of the agent, so it is
 * resolved through every link before it is compared with the folder.
 */
import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { relative, resolve, sep } from "node:path";
import { decodeUtf8, NotUtf8 } from "../../config/utf8.ts";
import { ToolError } from "./tool.ts";

/** The largest text of a draft, inline or in a file. In bytes for a file, in characters for a text. */
export const DRAFT_MAX = 1_048_576;

const IS_READABLE = /\.(?:ya?ml|json)$/i;

/**
 * Reads a draft.
 * @param folder An absolute path; `null`: there is no folder whose files may be read.
 * @param path From the agent, relative to the folder.
 * @throws {ToolError} The file is not one that a tool may read.
 */
export async function readDraft(folder: string | null, path: string): Promise<string> {
  if (folder === null)
    throw new ToolError(
      "this server reads no files, because it was started in a home or root directory. Give the text inline, or start the server with --drafts DIR",
    );
  if (!IS_READABLE.test(path))
    throw new ToolError("a tool reads only files that end in .yaml, .yml or .json. Give the text inline");
  const file = await insideOf(folder, path);
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer. The path has no link any more.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch {
    throw unreadable(path); // the code of the error would tell more about the machine than the agent needs
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw unreadable(path);
    if (stat.size > DRAFT_MAX) throw tooLarge(path);
    return decodeUtf8(await readAtMost(handle, path));
  } catch (error) {
    if (error instanceof NotUtf8) throw new ToolError(`${path}: ${error.message}`, { cause: error });
    throw error;
  } finally {
    await handle.close();
  }
}

/** The file may grow while it is read. */
async function readAtMost(handle: FileHandle, path: string): Promise<Uint8Array> {
  const bytes = Buffer.alloc(DRAFT_MAX + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(bytes, length, bytes.length - length, null);
    length += bytesRead;
    if (length > DRAFT_MAX) throw tooLarge(path);
    if (bytesRead === 0) return bytes.subarray(0, length);
  }
}

/** The real path of a file. @throws {ToolError} It is not below the folder, or does not exist. */
async function insideOf(folder: string, path: string): Promise<string> {
  const outside = () =>
    new ToolError(
      `${path} is not below ${folder}, or is hidden. Only files below this folder are read; or give the text inline`,
    );
  // Judged before the disk is asked, so that an answer never depends on files outside.
  if (!isBelow(folder, resolve(folder, path))) throw outside();
  let file: string;
  let root: string;
  try {
    root = await realpath(folder);
    file = await realpath(resolve(folder, path));
  } catch {
    throw unreadable(path); // as above
  }
  if (!isBelow(root, file) || !IS_READABLE.test(file)) throw outside();
  return file;
}

/** Hidden folders and files belong to programs, and often hold credentials. */
function isBelow(folder: string, file: string): boolean {
  const parts = relative(folder, file).split(sep);
  return (
    parts[0] !== "" && parts.every((part) => !part.startsWith(".")) && resolve(folder, ...parts) === file
  );
}

const unreadable = (path: string) =>
  new ToolError(
    `${path} cannot be read. Name an existing file below the folder of drafts, or give the text inline`,
  );
const tooLarge = (path: string) =>
  new ToolError(`${path} is larger than 1 MiB. Split it, or name the file that you mean`);

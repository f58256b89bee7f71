/**
 * The files that a tool may read for an agent: drafts and tests below one folder. The path is text of the agent, so it is
 * resolved through every link before it is compared with the folder.
 */
import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import platformPath, { type PlatformPath, resolve } from "node:path";
import { formatSize } from "../../config/units.ts";
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
      "this server reads no files, because it was started in a folder that contains the home directory. Give the text inline, or start the server with --drafts DIR",
    );
  if (!IS_READABLE.test(path))
    throw new ToolError("a tool reads only files that end in .yaml, .yml or .json. Give the text inline");
  return readRegularFile(await insideOf(folder, path), path, DRAFT_MAX);
}

/**
 * Reads a file that an agent may have replaced by a pipe, a device or a link.
 * @param file Its path without links.
 * @param name The path as errors show it.
 * @param max The most bytes.
 * @throws {ToolError}
 */
export async function readRegularFile(file: string, name: string, max: number): Promise<string> {
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer. The path has no link any more.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch {
    throw unreadable(name); // the code of the error would tell more about the machine than the agent needs
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw unreadable(name);
    if (stat.size > max) throw tooLarge(name, max);
    return decodeUtf8(await readAtMost(handle, name, max));
  } catch (error) {
    if (error instanceof NotUtf8) throw new ToolError(`${name}: ${error.message}`, { cause: error });
    throw error;
  } finally {
    await handle.close();
  }
}

/** The file may grow while it is read. */
async function readAtMost(handle: FileHandle, name: string, max: number): Promise<Uint8Array> {
  const bytes = Buffer.alloc(max + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(bytes, length, bytes.length - length, null);
    length += bytesRead;
    if (length > max) throw tooLarge(name, max);
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

/**
 * Whether a file is below a folder and not hidden. Hidden folders and files belong to programs, and often hold credentials.
 * @param path The rules of paths, which tests choose.
 */
export function isBelow(
  folder: string,
  file: string,
  { relative, isAbsolute, resolve, sep }: PlatformPath = platformPath,
): boolean {
  const below = relative(folder, file);
  // From one drive of Windows to another, there is no relative path.
  if (below === "" || isAbsolute(below)) return false;
  const parts = below.split(sep);
  return parts.every((part) => !part.startsWith(".")) && resolve(folder, ...parts) === file;
}

const unreadable = (name: string) =>
  new ToolError(
    `${name} cannot be read. Name an existing file below the folder of drafts, or give the text inline`,
  );
const tooLarge = (name: string, max: number) =>
  new ToolError(`${name} is larger than ${formatSize(max)}. Split it, or name the file that you mean`);

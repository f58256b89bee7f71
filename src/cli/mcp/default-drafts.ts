/** The folder of drafts if the admin names none. */
import { realpathSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { isAbsolute, parse, relative, sep } from "node:path";

/** The home directories of the user: of the environment and of the account. Empty if the system knows none. */
export const homeFolders = (): string[] => [homedir, () => userInfo().homedir].flatMap(folderOrNone);

function folderOrNone(folderOf: () => string): string[] {
  try {
    const folder = folderOf();
    return folder === "" ? [] : [folder];
  } catch {
    return []; // the account has no entry in the system, as in many containers
  }
}

/**
 * The working directory, unless it contains a home directory: some clients start their servers in the root or in the home
 * directory, and tools must not read all of that.
 * @param homes Absolute paths. If there is none, nothing shows that the folder is safe.
 */
export function defaultDrafts(folder: string, homes: readonly string[]): string | null {
  const real = realFolder(folder);
  const isUnsafe =
    homes.length === 0 || real === parse(real).root || homes.some((home) => contains(real, realFolder(home)));
  return isUnsafe ? null : folder;
}

/** The path without links. A home directory that does not exist counts as it is written. */
function realFolder(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    return folder;
  }
}

function contains(folder: string, other: string): boolean {
  const below = relative(folder, other);
  return !isAbsolute(below) && below.split(sep)[0] !== "..";
}

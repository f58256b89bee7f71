import { readFileSync } from "node:fs";

/** Assumed if the system does not report a limit. */
const UNKNOWN_LIMIT = 10_000;

/** How many connections this process may hold: its limit of open files, minus 10 % for everything else. */
export const connectionsByFileLimit = (): number => Math.floor(openFilesMax() * 0.9);

/**
 * How many sockets this process may accept. The 5 % between this and `connectionsByFileLimit` let a full node still
 * answer a client with the reason.
 */
export const socketsByFileLimit = (): number => Math.floor(openFilesMax() * 0.95);

function openFilesMax(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
    return soft === undefined || soft === "unlimited" ? UNKNOWN_LIMIT : Number(soft);
  } catch {
    return UNKNOWN_LIMIT; // not Linux
  }
}

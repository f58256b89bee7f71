import { readFileSync } from "node:fs";

/** Where the system tells no limit. */
const UNKNOWN_LIMIT = 10_000;

/** How many connections this process may hold: its limit of open files, less 10 % for everything else. */
export function connectionsByFileLimit(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
    return soft === undefined || soft === "unlimited" ? UNKNOWN_LIMIT : Math.floor(Number(soft) * 0.9);
  } catch {
    return UNKNOWN_LIMIT; // not Linux
  }
}

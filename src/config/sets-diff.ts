import { runThread, ThreadLimit } from "./run-thread.ts";
import type { SetsDiff, SetsToCompare } from "./sets-diff-task.ts";

/** Compares two saved sets in a thread of its own, because reading and comparing large ones takes seconds. */
export async function diffSetsAside(sets: SetsToCompare, timeoutMs: number): Promise<SetsDiff> {
  try {
    const limit = { timeoutMs, option: "server.admin.planTimeout" };
    return await runThread("diffSets", sets, limit);
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return { unreadable: error.message };
  }
}

import type { EditToRead, ReadEdit } from "./edit-task.ts";
import { runThread, ThreadLimit } from "./run-thread.ts";

/**
 * Reads the text of an edit in a thread of its own, because parsing, checking and comparing it takes seconds for a
 * large one, and clients would wait.
 */
export async function readEdit(edit: EditToRead, timeoutMs: number): Promise<ReadEdit> {
  try {
    const option = "server.admin.planTimeout";
    return await runThread("readEdit", edit, { timeoutMs, option });
  } catch (error) {
    if (!(error instanceof ThreadLimit)) throw error;
    return { problems: [{ line: 1, column: 1, path: "", message: error.message }] };
  }
}

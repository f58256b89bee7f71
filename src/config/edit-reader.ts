import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { EditProblems } from "../admin/plan-edit.ts";
import type { RulesSource } from "../rules/compile-rules.ts";
import type { RulesDiff } from "../rules/diff-rules.ts";

/** An edit as text, and the rules with which it is compared. */
export interface EditToRead {
  readonly text: string;
  readonly inForce: RulesSource;
}

/** The rules of an edit and how they differ from those in force, or everything that is wrong with it. */
export type ReadEdit = { readonly source: RulesSource; readonly diff: RulesDiff } | EditProblems;

/** A thread runs compiled JavaScript; where the sources themselves run, as in tests, that is in `dist`. */
const THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "../../dist/config/edit-thread.js" : "./edit-thread.js",
  import.meta.url,
);

/** Limits for reading one edit: a small text can need far more memory than its size. */
const HEAP_MIB_MAX = 256;

/**
 * Reads the text of an edit in a thread of its own, because parsing, checking and comparing it takes seconds for a
 * large one, and clients would wait. The thread has no environment and ends after each edit.
 */
export async function readEdit(edit: EditToRead, timeoutMs: number): Promise<ReadEdit> {
  const thread = new Worker(THREAD, {
    workerData: edit,
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
  });
  // After the time is over, the thread may still run out of memory before it has ended.
  thread.on("error", () => {});
  try {
    const [answer] = await once(thread, "message", { signal: AbortSignal.timeout(timeoutMs) });
    return answer as ReadEdit; // as the thread sends it
  } catch (error) {
    const problem = problemOf(error, timeoutMs);
    if (problem === null) throw error;
    return { problems: [{ line: 1, column: 1, path: "", message: problem }] };
  } finally {
    await thread.terminate();
  }
}

function problemOf(error: unknown, timeoutMs: number): string | null {
  if (!(error instanceof Error)) return null;
  if (error.name === "AbortError")
    return `reading it takes longer than ${timeoutMs} ms (server.admin.planTimeout): no configuration needs that`;
  if ("code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY")
    return `reading it takes more than ${HEAP_MIB_MAX} MiB: no configuration needs that`;
  return null;
}

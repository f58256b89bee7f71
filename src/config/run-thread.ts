import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Task, TaskAnswer, Tasks } from "./rules-thread.ts";

/** Limits for reading one text: a small text can need far more memory than its size. */
const HEAP_MIB_MAX = 256;
/**
 * A thread waits this long for the next task. The editor of rules asks after each pause in typing, and a new thread needs half a
 * second of processor time to load its modules.
 */
const KEPT_MS = 300_000;
/** A thread whose heap has grown beyond this does not wait for another task. */
const KEPT_HEAP_BYTES = 96 * 1_048_576;

/** A text could not be read within the limits. */
export class ThreadLimit extends Error {
  override readonly name = "ThreadLimit";
}

/**
 * How many threads wait for a task. An editor asks for a replay and for a check of the next text at the same time, and the check would
 * wait for a new thread if only one were kept.
 */
const KEPT_MAX = 2;

interface Waiting {
  readonly thread: Worker;
  readonly timer: NodeJS.Timeout;
}

/** The threads that wait for a task. The one that has waited the shortest time is the last. */
const waiting: Waiting[] = [];

/**
 * Runs one task in a thread, which has no environment and runs one task at a time.
 * @param name Of a task of `rules-thread.ts`. A thread runs compiled JavaScript; if the sources themselves run, as in
 *   tests, that is in `dist`.
 * @param option The option that sets `timeoutMs`, for the text.
 * @throws {ThreadLimit} It took too long, or too much memory.
 */
export async function runThread<Name extends keyof Tasks>(
  name: Name,
  data: Parameters<Tasks[Name]>[0],
  { timeoutMs, option }: { readonly timeoutMs: number; readonly option: string },
): Promise<Awaited<ReturnType<Tasks[Name]>>> {
  const thread = take(waiting.at(-1)) ?? startThread();
  try {
    thread.postMessage({ name, data } satisfies Task);
    const [answer] = await once(thread, "message", { signal: AbortSignal.timeout(timeoutMs) });
    const { value, heapBytes } = answer as TaskAnswer; // as the thread sends it
    await keep(thread, heapBytes);
    return value as Awaited<ReturnType<Tasks[Name]>>; // as the task of this name answers
  } catch (error) {
    await thread.terminate();
    const text = limitOf(error, timeoutMs, option);
    throw text === null ? error : new ThreadLimit(text, { cause: error });
  }
}

function startThread(): Worker {
  const folder = import.meta.url.endsWith(".ts") ? "../../dist/config/" : "./";
  const thread = new Worker(new URL(`${folder}rules-thread.js`, import.meta.url), {
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
  });
  // After the time is over, the thread may still run out of memory before it has ended.
  thread.on("error", () => {});
  thread.once("exit", () => void take(waiting.find((each) => each.thread === thread)));
  return thread;
}

/** Takes a thread out of those that wait. */
function take(taken: Waiting | undefined): Worker | null {
  if (taken === undefined) return null;
  waiting.splice(waiting.indexOf(taken), 1);
  clearTimeout(taken.timer);
  taken.thread.ref();
  return taken.thread;
}

/** Keeps a thread for the next task, or ends it. */
async function keep(thread: Worker, heapBytes: number): Promise<void> {
  if (waiting.length >= KEPT_MAX || heapBytes > KEPT_HEAP_BYTES) {
    await thread.terminate();
    return;
  }
  // The process may end meanwhile.
  thread.unref();
  const timer = setTimeout(() => void take(kept)?.terminate(), KEPT_MS).unref();
  const kept = { thread, timer };
  waiting.push(kept);
}

function limitOf(error: unknown, timeoutMs: number, option: string): string | null {
  if (!(error instanceof Error)) return null;
  if (error.name === "AbortError")
    return `reading it takes longer than ${timeoutMs} ms (${option}): no configuration needs that`;
  if ("code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY")
    return `reading it takes more than ${HEAP_MIB_MAX} MiB: no configuration needs that`;
  return null;
}

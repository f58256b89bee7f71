import { once } from "node:events";
import { Worker } from "node:worker_threads";

/** Limits for reading one text: a small text can need far more memory than its size. */
const HEAP_MIB_MAX = 256;

/** A text could not be read within the limits. */
export class ThreadLimit extends Error {
  override readonly name = "ThreadLimit";
}

/**
 * Runs one program in a thread of its own, which has no environment and ends after it has answered.
 * @param program Its name in this folder. A thread runs compiled JavaScript; if the sources themselves run, as in
 *   tests, that is in `dist`.
 * @param option The option that sets `timeoutMs`, for the text.
 * @throws {ThreadLimit} It took too long, or too much memory.
 */
export async function runThread(
  program: string,
  data: unknown,
  { timeoutMs, option }: { readonly timeoutMs: number; readonly option: string },
): Promise<unknown> {
  const folder = import.meta.url.endsWith(".ts") ? "../../dist/config/" : "./";
  const thread = new Worker(new URL(`${folder}${program}.js`, import.meta.url), {
    workerData: data,
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
  });
  // After the time is over, the thread may still run out of memory before it has ended.
  thread.on("error", () => {});
  try {
    const [answer] = await once(thread, "message", { signal: AbortSignal.timeout(timeoutMs) });
    return answer;
  } catch (error) {
    const text = limitOf(error, timeoutMs, option);
    throw text === null ? error : new ThreadLimit(text, { cause: error });
  } finally {
    await thread.terminate();
  }
}

function limitOf(error: unknown, timeoutMs: number, option: string): string | null {
  if (!(error instanceof Error)) return null;
  if (error.name === "AbortError")
    return `reading it takes longer than ${timeoutMs} ms (${option}): no configuration needs that`;
  if ("code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY")
    return `reading it takes more than ${HEAP_MIB_MAX} MiB: no configuration needs that`;
  return null;
}

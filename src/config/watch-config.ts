import { unwatchFile, watchFile } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import { type Config, loadConfig } from "./config.ts";

/** Files are polled, because change notifications do not work on every file system, for example on mounted ones. */
const POLL_MS = 500;
/** A file that has not changed for this long is taken as completely written. */
const SETTLED_MS = 100;

/** The handlers of an edit. Edits are handled one after another. */
export interface ConfigEdits {
  /** May reject. Then the whole edit is refused. */
  onEdit(config: Config): Promise<void>;
  onRefused(error: unknown): void;
}

/**
 * Follows edits of a configuration file until `stop` is called. `now` handles one at once. A file that results in what
 * is in force already is no edit.
 * @param inForce The configuration that the service started with.
 * @param guard Contains an error of `onRefused` itself: later edits are still handled.
 */
export function watchConfig(
  path: string,
  env: NodeJS.ProcessEnv,
  inForce: Config,
  edits: ConfigEdits,
  guard: GuardParts,
): { now: () => void; stop: () => void } {
  let applied: string | undefined = JSON.stringify(inForce);
  let last: Promise<void> = Promise.resolve();
  const handle = async () => {
    try {
      await untilSettled(path);
      const config = await loadConfig(path, env);
      const text = JSON.stringify(config);
      if (text === applied) return;
      // Until `onEdit` has succeeded, it is unknown which configuration is in force. After a refusal, an edit back to
      // the configuration in force is an edit, too.
      applied = undefined;
      await edits.onEdit(config);
      applied = text;
    } catch (error) {
      applied = undefined;
      edits.onRefused(error);
    }
  };
  const now = guarded(guard, "config.watch", () => {
    const handled = last.then(handle);
    // The next edit is handled even if this one failed.
    last = handled.catch(() => {}); // the guard reports it
    return handled;
  });
  watchFile(path, { interval: POLL_MS, persistent: false }, now);
  return { now, stop: () => unwatchFile(path, now) };
}

/**
 * Settles when a file is not being written to any more: the first half of a list of rules may well be a valid file.
 * @param wait Lets so many milliseconds pass.
 */
export async function untilSettled(
  path: string,
  wait: (ms: number) => Promise<unknown> = sleep,
): Promise<void> {
  const look = () =>
    stat(path).then(
      ({ mtimeMs, size, ino }) => `${mtimeMs} ${size} ${ino}`,
      () => "", // the next read reports the reason
    );
  let before = await look();
  for (;;) {
    await wait(SETTLED_MS);
    const after = await look();
    if (after === before) return;
    before = after;
  }
}

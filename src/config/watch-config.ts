import { unwatchFile, watchFile } from "node:fs";
import { type Config, loadConfig } from "./config.ts";

/** Files are looked at, not notified about: that works on every file system, mounted ones included. */
const POLL_MS = 500;

/** What to do about an edit. Edits are handled one after another. */
export interface ConfigEdits {
  /** May reject: then the edit is refused as a whole. */
  onEdit(config: Config): Promise<void>;
  onRefused(error: unknown): void;
}

/** Follows edits of a configuration file until the returned function is called. `now` handles one at once. */
export function watchConfig(
  path: string,
  env: NodeJS.ProcessEnv,
  edits: ConfigEdits,
): { now: () => void; stop: () => void } {
  let last: Promise<void> = Promise.resolve();
  const handle = async () => {
    try {
      await edits.onEdit(await loadConfig(path, env));
    } catch (error) {
      edits.onRefused(error);
    }
  };
  const now = () => {
    last = last.then(handle);
  };
  watchFile(path, { interval: POLL_MS, persistent: false }, now);
  return { now, stop: () => unwatchFile(path, now) };
}

import type { z } from "zod";
import type { ConfigSchema } from "./config-schema.ts";
import type { Path } from "./config-text.ts";

const SYSTEM_DATABASES = new Set(["admin", "local", "config"]);

/** What is wrong between sections that are each right for themselves; paths as in the file. */
export function* crossProblems(
  config: z.output<typeof ConfigSchema>,
): Generator<{ readonly path: Path; readonly message: string }> {
  const { mongodb, collections, limits } = config;
  for (const [name, { database, rules }] of Object.entries(collections)) {
    const path: Path = ["collections", name, "database"];
    if (database !== undefined && SYSTEM_DATABASES.has(database)) {
      const message = `found ${database}; allowed: a database of your own, as change streams do not open on ${database}`;
      yield { path, message };
    }
    // The key that seals tickets lies there: no rule may ever reach it.
    if ((database ?? mongodb.database) === mongodb.stateDatabase) {
      const reason = "the service keeps its keys in mongodb.stateDatabase, so no collection may lie there";
      const message = `found ${mongodb.stateDatabase}; allowed: another database, as ${reason}. Write for example \`stateDatabase: tidewire\``;
      yield { path: database === undefined ? ["mongodb", "stateDatabase"] : path, message };
    }
    for (const [index, { allow }] of rules.entries()) {
      if (allow.maxLimit === undefined || allow.maxLimit <= limits.windowSize) continue;
      const message = `found ${allow.maxLimit}; allowed: at most limits.windowSize (${limits.windowSize}). Lower it, or raise windowSize`;
      yield { path: ["collections", name, "rules", index, "allow", "maxLimit"], message };
    }
  }
}

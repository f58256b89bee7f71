import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import { namesOf, namespacesOf, statePrefixOf } from "../config/namespaces.ts";
import { followStateOf } from "../follow-revocations.ts";
import { answerOf, type MongoAccess } from "../source/mongo.ts";
import { type FollowState, type PreflightReport, preflight } from "../source/preflight.ts";
import { StartupError } from "../source/startup-error.ts";

/** For an edit that adds collections: to switch images on waits for the operations in progress. In milliseconds. */
const PREFLIGHT_TIMEOUT_MS = 60_000;

/** Collections that an edit adds, as they were found. */
export type AddedCollections = PreflightReport["collections"];

/**
 * Checks the collections that an edit adds, before its rules take effect.
 * @returns The new collections.
 * @throws {StartupError} They cannot be followed, or the edit needs a restart.
 */
export async function checkAddedCollections(
  client: MongoAccess,
  current: Config,
  next: Config,
): Promise<AddedCollections> {
  const known = new Set(namesOf(current));
  const added = namespacesOf(next).filter(
    ({ database, collection }) => !known.has(`${database}.${collection}`),
  );
  if (statePrefixOf(next) !== statePrefixOf(current)) {
    const text = "mongodb.stateDatabase gets its first collection of a rule, or loses its last one";
    throw new StartupError(
      `${text}: the service's own collections have other names then. Restart to apply it`,
    );
  }
  if (added.length === 0) return [];
  const { stateDatabase, images } = current.mongodb;
  const followState: FollowState = { ...followStateOf(current), mode: "off" };
  const options = { collections: added, followState, stateDatabase, images };
  const report = await answerOf(client, (at) => preflight(at, options), { timeoutMs: PREFLIGHT_TIMEOUT_MS });
  return report.collections;
}

/** Warns of edited sections that need a restart, so that nobody takes such an edit for done. */
export function warnOfUnapplied(current: Config, next: Config, log: Logger): void {
  const always = [
    "mongodb",
    "server",
    "auth",
    "limits",
    "history",
    "tickets",
    "push",
    "sinks",
    "log",
  ] as const;
  // With the rules of a file, an edit of this section takes effect together with them.
  const sections = current.rules.from === "database" ? ([...always, "rules"] as const) : always;
  const differs: string[] = sections.filter(
    (name) => JSON.stringify(current[name]) !== JSON.stringify(next[name]),
  );
  if (!isPresenceApplied(current, next)) differs.push("presence");
  if (differs.length > 0)
    log.warn({ sections: differs }, "these sections were edited, too: restart to apply them");
}

/** With the rules of a file, its rules take effect together with those of the collections, and nothing else of it. */
function isPresenceApplied(
  { presence: current, rules: { from } }: Config,
  { presence: next }: Config,
): boolean {
  const rest = (presence: Config["presence"]) =>
    JSON.stringify(
      presence === undefined || from === "database" ? presence : { ...presence, rules: null, lookups: null },
    );
  return rest(current) === rest(next);
}

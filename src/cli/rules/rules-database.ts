import { hostname } from "node:os";
import type { Config } from "../../config/config.ts";
import { formatProblem, loadConfigApartFromRules } from "../../config/config.ts";
import { readRuleSet, termsOf } from "../../config/rule-set.ts";
import type { RulesSource } from "../../rules/compile-rules.ts";
import { AuditStore } from "../../source/audit-store.ts";
import { answerOf, STATE_TIMEOUT_MS } from "../../source/mongo.ts";
import { NodeRulesStore } from "../../source/node-rules-store.ts";
import { RequestStore } from "../../source/request-store.ts";
import { type AnswerStep, RuleSetStore, type SavedRuleSet } from "../../source/rule-set-store.ts";
import { StartupError } from "../../source/startup-error.ts";
import type { Io } from "../../terminal/io.ts";
import { type NoteAct, WORK_TIMEOUT_MS, withStateDatabase } from "../state-database.ts";

/** Where a command works. */
export interface At {
  readonly configPath: string;
  readonly io: Io;
}

/** The rule sets of a deployment, for a command. */
export interface RulesDatabase {
  readonly config: Config;
  readonly sets: RuleSetStore;
  readonly nodes: NodeRulesStore;
  readonly audit: AuditStore;
  readonly requests: RequestStore;
  readonly acting: NoteAct;
  /** Waits for one step of a write, for a limited time. */
  readonly answer: AnswerStep;
  /** Whether nodes of the configuration read their rules there. */
  readonly isUsed: boolean;
}

/**
 * Works on the rule sets with the connection of a configuration.
 * @param waitMs How much longer than a few reads and writes the work may take.
 */
export async function withRuleSets<T>(
  { configPath, io }: At,
  work: (database: RulesDatabase) => Promise<T>,
  waitMs = 0,
): Promise<T> {
  const { config, from } = await loadConfigApartFromRules(configPath, io.env);
  return withStateDatabase(
    config,
    (client, database, acting) =>
      work({
        acting,
        answer: (ask) => answerOf(client, ask, { timeoutMs: STATE_TIMEOUT_MS }),
        config,
        sets: new RuleSetStore(database),
        nodes: new NodeRulesStore(database),
        requests: new RequestStore(database),
        audit: new AuditStore(database, hostname(), config.server.admin.auditForMs),
        isUsed: from === "database",
      }),
    WORK_TIMEOUT_MS + waitMs,
  );
}

/**
 * The set in force.
 * @throws {StartupError} There is none.
 */
export async function setInForce({ sets, config }: RulesDatabase): Promise<SavedRuleSet> {
  const inForce = await sets.inForce();
  if (inForce === null)
    throw new StartupError(
      `no rule set is in force in database ${config.mongodb.stateDatabase}: put one in force with tidewire rules push FILE -m TEXT`,
    );
  return loadSet({ sets }, inForce.set);
}

/**
 * A set by its number.
 * @throws {StartupError} It is not kept.
 */
export async function loadSet({ sets }: Pick<RulesDatabase, "sets">, number: number): Promise<SavedRuleSet> {
  const set = await sets.load(number);
  if (set === null)
    throw new StartupError(
      `there is no rule set ${number}, or it is no longer kept (rules.setsKept). tidewire rules log lists the sets`,
    );
  return set;
}

/**
 * The rules of a saved set, under the configuration.
 * @throws {StartupError} This version cannot read the set.
 */
export function sourceOf(set: SavedRuleSet, config: Config): RulesSource {
  const read = readRuleSet(set.collections, `rule set ${set.number}`, termsOf(config));
  if (read.ok) return { ...config, collections: read.collections };
  throw new StartupError(
    `rule set ${set.number} is not valid under this configuration and this version`,
    read.problems.map(formatProblem),
  );
}

/** One line that names a set to a person. */
export const nameOfSet = ({ number, author, message, at }: SavedRuleSet): string =>
  `rule set ${number} (${author}, ${at.toISOString()}: ${firstLine(message)})`;

/** The first line of a message. */
export const firstLine = (text: string): string => text.split("\n")[0] ?? "";

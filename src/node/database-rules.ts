/** Rules that come from the database: what a node reads at its start, and what keeps it up to date from there. */
import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import { ruleSetsOf, statePrefixOf } from "../config/namespaces.ts";
import type { Feed } from "../feed/feed.ts";
import { RuleTimes } from "../gateway/rights/rule-times.ts";
import { RulesAhead } from "../gateway/rights/rules-ahead.ts";
import { packageVersion } from "../metrics/process-metrics.ts";
import { compileRules } from "../rules/compile-rules.ts";
import { answerOf, STATE_TIMEOUT_MS } from "../source/mongo.ts";
import { MongoSnapshots } from "../source/mongo-snapshots.ts";
import { type NodeRules, NodeRulesStore } from "../source/node-rules-store.ts";
import type { ReplaceableClient } from "../source/replaceable-client.ts";
import { IN_FORCE, parseInForce, RuleSetStore } from "../source/rule-set-store.ts";
import { StartupError } from "../source/startup-error.ts";
import { checkStateNames, prefixed } from "../source/state-names.ts";
import type { Basics } from "./basics.ts";
import { type CompiledSet, compileRuleSet, identitiesOf, identitiesUnder } from "./compile-rule-set.ts";
import { interruptedRules } from "./interrupted-rules.ts";
import type { RuleEdits } from "./rule-edits.ts";
import { RuleSetFollower } from "./rule-set-follower.ts";
import { RuleSetLoader } from "./rule-set-loader.ts";
import { RulesReports } from "./rules-reports.ts";
import type { SharedState } from "./shared-state.ts";

/** The part of a node that follows the rule set in force. */
export interface FollowedRules {
  /** Ends all waiting, so that the change stream can stop. */
  stop(): void;
}

/**
 * Reads and compiles the rule set in force.
 * @returns `null` if the rules come from the file.
 * @throws {StartupError} There is none, or this node cannot compile it.
 */
export async function loadRulesInForce(
  { config, log }: Basics,
  client: ReplaceableClient,
): Promise<CompiledSet | null> {
  if (config.rules.from === "file") return null;
  const { stateDatabase } = config.mongodb;
  const prefix = statePrefixOf(config);
  await checkStateNames(client, stateDatabase, prefix);
  const store = new RuleSetStore(prefixed(client.stateDatabase(stateDatabase), prefix));
  const inForce = await store.inForce();
  const set = inForce === null ? null : await store.load(inForce.set);
  if (set === null)
    throw new StartupError(
      `rules.from is database, and no rule set is in force in database ${stateDatabase}: put one in force with ` +
        "tidewire rules push FILE -m TEXT, where FILE has the collections and their rules",
    );
  log.info({ set: set.number, author: set.author, message: set.message }, "the rule set in force is read");
  return compileRuleSet(set, config);
}

/**
 * Since when the rules have been in force.
 * @param loaded The rule set in force; `null` if the rules come from the file.
 */
export async function loadRuleTimes(
  config: Config,
  loaded: CompiledSet | null,
  state: SharedState,
): Promise<RuleTimes> {
  const { since, sets } = await state.rules.load();
  const interrupted = loaded === null ? new Set() : await interruptedAtStart(loaded, sets, state);
  const known = new Map([...since].filter(([identity]) => !interrupted.has(identity)));
  const times = new RuleTimes(loaded?.rules ?? compileRules(config), known, await state.deployment.now());
  await state.rules.save(times.all, loaded?.set.number ?? null);
  return times;
}

/** The rules of a set that were not in force without a break since their saved times. */
async function interruptedAtStart(
  { set, rules, config }: CompiledSet,
  lastKnown: ReadonlyMap<string, number>,
  { database }: Pick<SharedState, "database">,
): Promise<ReadonlySet<string>> {
  const store = new RuleSetStore(database);
  return interruptedRules(set, identitiesOf(rules), (identity) => lastKnown.get(identity) ?? 0, {
    load: (number) => store.load(number),
    identities: identitiesUnder(config),
  });
}

/** Reads at the cluster time of a snapshot whether an edit has come into force before it. */
export function rulesAheadOf(
  { set, config }: CompiledSet,
  client: ReplaceableClient,
  log: Logger,
): RulesAhead {
  const reader = new MongoSnapshots(client);
  const query = { ...ruleSetsOf(config), filter: { _id: IN_FORCE }, maxTimeMs: STATE_TIMEOUT_MS };
  const read = async (clusterTime: bigint) => {
    const ask = () => reader.readAt(query, clusterTime);
    const [document] = await answerOf(client, ask, { timeoutMs: STATE_TIMEOUT_MS });
    return document === undefined ? null : parseInForce(document).set;
  };
  return new RulesAhead(set.number, read, log);
}

/** The report of this node about a set that it cannot apply. */
const reportOf = (behind: RuleEdits["rulesBehind"]): NodeRules["behind"] =>
  behind === null ? null : { set: behind.set, problem: behind.problem };

/** The parts of a node that following needs. */
interface FollowParts {
  readonly config: Config;
  readonly client: ReplaceableClient;
  readonly state: SharedState;
  readonly feed: Feed;
  readonly edits: RuleEdits;
}

/** Follows the rule set in force from the beginning of the change stream on. To be called before that. */
export function followRuleSets(basics: Basics, parts: FollowParts): FollowedRules {
  const { log, metrics } = basics;
  const { config, client, state, feed, edits } = parts;
  const store = new RuleSetStore(state.database);
  const load = (number: number) => state.answer(() => store.load(number));
  const loader = new RuleSetLoader({ client, load, edits, log, metrics });
  const reader = new MongoSnapshots(client);
  const follower: RuleSetFollower = new RuleSetFollower(ruleSetsOf(config), {
    loader,
    edits,
    reader,
    headTime: () => (feed.timeline.isReady ? feed.timeline.headTime : 0n),
    log,
    metrics,
    onChange: () => reports.report(),
  });
  const reports = new RulesReports(basics, {
    store: new NodeRulesStore(state.database),
    answer: state.answer,
    version: packageVersion(),
    rulesNow: () => ({
      generation: edits.generation,
      clusterTime: follower.tookEffectAt,
      behind: reportOf(edits.rulesBehind),
    }),
  });
  feed.followState(follower);
  return loader;
}

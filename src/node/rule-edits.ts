import type { Logger } from "pino";
import { type EditPlan, type EditProblems, planEdit } from "../admin/plan-edit.ts";
import type { Readiness } from "../admin/readiness.ts";
import type { Config } from "../config/config.ts";
import { readEdit } from "../config/edit-reader.ts";
import type { EditToRead, ReadEdit } from "../config/edit-task.ts";
import { namesOf } from "../config/namespaces.ts";
import { termsOf } from "../config/rule-set.ts";
import type { Feed } from "../feed/feed.ts";
import type { HistoryEntry } from "../feed/history.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { totalOf } from "../gateway/plan-rules.ts";
import type { RuleTimes } from "../gateway/rights/rule-times.ts";
import type { RulesAhead } from "../gateway/rights/rules-ahead.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { compileRulesInTurns, type RuleSet, type RulesSource } from "../rules/compile-rules.ts";
import type { Replay } from "../rules/replay-requests.ts";
import type { ImageKeeper } from "../source/image-keeper.ts";
import type { MongoAccess } from "../source/mongo.ts";
import type { RuleTimeStore } from "../source/rule-time-store.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Behind, ReadySet } from "./compile-rule-set.ts";
import { type AddedCollections, checkAddedCollections, warnOfUnapplied } from "./reload.ts";

interface RuleEditsParts {
  readonly client: MongoAccess;
  readonly feed: Feed;
  readonly keeper: ImageKeeper;
  readonly gateway: Gateway;
  readonly ruleTimes: RuleTimes;
  readonly rulesAhead: RulesAhead | null;
  readonly ruleTimeStore: RuleTimeStore;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Plans and applies edits of the configuration on this node, and knows which rules are in force. */
export class RuleEdits {
  readonly #parts: RuleEditsParts;
  readonly #planTimeoutMs: number;
  #inForce: Config;
  #generation: number;
  #lastReload: Readiness["lastReload"] = "none";
  #behind: Readiness["rulesBehind"] = null;

  /** @param generation That of the rules in `config`. */
  constructor(parts: RuleEditsParts, config: Config, generation: number) {
    this.#parts = parts;
    this.#planTimeoutMs = config.server.admin.planTimeoutMs;
    this.#inForce = config;
    this.#generation = generation;
    parts.metrics.rulesGeneration.set(generation);
  }

  /** The generation of the rules in force. */
  get generation(): number {
    return this.#generation;
  }

  /** The configuration with the rules in force. */
  get config(): Config {
    return this.#inForce;
  }

  /** Whether a rule is in force, by its identity. */
  hasInForce(identity: string): boolean {
    return this.#parts.ruleTimes.all.has(identity);
  }

  /** The rule set that should be in force and is not; `null` if there is none. */
  get rulesBehind(): Readiness["rulesBehind"] {
    return this.#behind;
  }

  /** Notes whether the rules in force are those that should be. */
  noteBehind(behind: Behind | null): void {
    const since = this.#behind?.since ?? new Date().toISOString();
    this.#behind = behind === null ? null : { ...behind, since };
    this.#parts.metrics.rulesBehind.set(behind === null ? 0 : 1);
  }

  /** The outcome of the latest edit. */
  get lastReload(): Readiness["lastReload"] {
    return this.#lastReload;
  }

  /** Works out the effect of an edit, given as the text of a configuration. See `PlanText`. */
  async plan(text: string, gone?: AbortSignal): Promise<EditPlan | EditProblems> {
    const generation = this.#generation;
    const edit = await this.#read(text, null);
    if ("problems" in edit) return edit;
    return planEdit(this.#parts.gateway, generation, edit.source, edit.diff, gone);
  }

  /** Compiles the rules of an edit, given as the text of a configuration. */
  async compile(text: string): Promise<RuleSet | EditProblems> {
    const edit = await this.#read(text, null);
    return "problems" in edit ? edit : compileRulesInTurns(edit.source);
  }

  /** Replays recorded requests under an edit, given as the text of a configuration. @param texts Each as JSON. */
  async replay(text: string, texts: readonly string[], nowMs: number): Promise<Replay | EditProblems> {
    const edit = await this.#read(text, { texts, nowMs });
    if ("problems" in edit) return edit;
    if (edit.replay === null) throw new Error("the thread has replayed nothing");
    return edit.replay;
  }

  #read(text: string, recorded: EditToRead["recorded"]): Promise<ReadEdit> {
    const { rules } = this.#inForce;
    const terms = rules.from === "database" ? termsOf(this.#inForce) : null;
    return readEdit({ text, inForce: rulesOf(this.#inForce), terms, recorded }, this.#planTimeoutMs);
  }

  /**
   * Finds out whether an edit can take effect.
   * @returns Lets it take effect.
   * @throws {StartupError} The edit cannot take effect without a restart, or a new collection cannot be followed.
   */
  async prepare(edited: Config): Promise<() => Promise<void>> {
    const { client, gateway, log } = this.#parts;
    const { from } = this.#inForce.rules;
    if (edited.rules.from !== from)
      throw new StartupError(`rules.from was ${from}, and is ${edited.rules.from} now: restart to apply it`);
    // The rest of the file needs a restart.
    if (from === "database") return async () => warnOfUnapplied(this.#inForce, edited, log);
    const added = await checkAddedCollections(client, this.#inForce, edited);
    const rules = await compileRulesInTurns(edited);
    const { collections } = await gateway.planRules(rules);
    const planned = totalOf(collections);
    return async () => {
      const atOnce = () => this.#followCollections(edited, added);
      const effect = await gateway.replaceRules(rules, { atOnce });
      this.#noteApplied(this.#generation + 1, { ...effect, subscriptions: planned });
      this.#saveTimes(null);
      warnOfUnapplied(this.#inForce, edited, log);
      this.#inForce = edited;
    };
  }

  /** Puts a rule set in force at the commit that is being accepted. It may pause with each `yield`. */
  *takeEffectAt(ready: ReadySet, entry: HistoryEntry): Generator<void> {
    const { ruleTimes, gateway } = this.#parts;
    const { set, rules, interrupted } = ready;
    ruleTimes.replace(rules, entry.commit.clusterTime, (identity) => interrupted.has(identity));
    const effect = yield* gateway.replaceRulesAt(rules, entry, () => this.#adopt(ready));
    this.#noteApplied(set.number, effect);
  }

  /**
   * Puts a rule set in force between two commits.
   * @param at A cluster time at which it was in force. New rules count from there on, or from the last commit if that
   *   is later.
   * @param isWanted Asked just before.
   * @returns Whether it was put in force.
   */
  async takeEffectNow(ready: ReadySet, at: bigint, isWanted: () => boolean): Promise<boolean> {
    const { set, rules, interrupted } = ready;
    const effect = await this.#parts.gateway.replaceRules(rules, {
      at,
      atOnce: () => this.#adopt(ready),
      wasInterrupted: (identity) => interrupted.has(identity),
      isWanted,
    });
    if (effect !== null) this.#noteApplied(set.number, effect);
    return effect !== null;
  }

  /** Notes an edit that was refused. */
  reject(): void {
    this.#lastReload = "rejected";
    this.#parts.metrics.rulesReloads.inc({ outcome: "rejected" });
  }

  #adopt({ config, added, set }: ReadySet): void {
    this.#followCollections(config, added);
    this.#inForce = config;
    this.#parts.rulesAhead?.replace(set.number);
    this.#saveTimes(set.number);
  }

  /** @param set The rule set of the database; `null` if the rules come from a file. */
  #saveTimes(set: number | null): void {
    const { ruleTimeStore, ruleTimes, log } = this.#parts;
    // The next start finds out the times that could not be saved, and makes up for them.
    ruleTimeStore
      .save(ruleTimes.all, set)
      .catch((err: unknown) => log.warn({ err }, "the time of the edit could not be saved"));
  }

  #noteApplied(generation: number, effect: object): void {
    const { metrics, log } = this.#parts;
    this.#generation = generation;
    this.#lastReload = "applied";
    metrics.rulesGeneration.set(generation);
    metrics.rulesReloads.inc({ outcome: "applied" });
    log.info({ generation, ...effect }, "the edited rules are in force");
  }

  #followCollections(edited: Config, added: AddedCollections): void {
    const { keeper, feed, log } = this.#parts;
    if (namesOf(edited).join() === namesOf(this.#inForce).join()) return;
    keeper.follow(added);
    keeper.keepOnly(namesOf(edited));
    if (added.length > 0) log.info({ collections: added }, "more collections are followed");
    feed.watch(namesOf(edited));
  }
}

/** The part of a configuration that rules are made of, which holds no secret. */
const rulesOf = ({ mongodb: { database }, collections, limits, rules, presence }: Config): RulesSource => ({
  mongodb: { database },
  collections,
  limits,
  rules,
  presence,
});

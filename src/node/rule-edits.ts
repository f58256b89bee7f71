import type { Logger } from "pino";
import { type EditPlan, type EditProblems, planEdit } from "../admin/plan-edit.ts";
import type { Readiness } from "../admin/readiness.ts";
import type { Config } from "../config/config.ts";
import { readEdit } from "../config/edit-reader.ts";
import { namesOf } from "../config/namespaces.ts";
import type { Feed } from "../feed/feed.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { type EffectCounts, totalOf } from "../gateway/plan-rules.ts";
import type { RuleTimes } from "../gateway/rights/rule-times.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { compileRulesInTurns, type RuleSet, type RulesSource } from "../rules/compile-rules.ts";
import type { ChangeSource } from "../source/change-source.ts";
import type { ImageKeeper } from "../source/image-keeper.ts";
import type { MongoAccess } from "../source/mongo.ts";
import type { RuleTimeStore } from "../source/rule-time-store.ts";
import { type AddedCollections, checkAddedCollections, warnOfUnapplied } from "./reload.ts";

interface RuleEditsParts {
  readonly client: MongoAccess;
  readonly feed: Feed;
  readonly source: ChangeSource;
  readonly keeper: ImageKeeper;
  readonly gateway: Gateway;
  readonly ruleTimes: RuleTimes;
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

  /** The outcome of the latest edit. */
  get lastReload(): Readiness["lastReload"] {
    return this.#lastReload;
  }

  /** Works out the effect of an edit, given as the text of a configuration. */
  async plan(text: string): Promise<EditPlan | EditProblems> {
    const edit = await readEdit({ text, inForce: rulesOf(this.#inForce) }, this.#planTimeoutMs);
    return "problems" in edit
      ? edit
      : planEdit(this.#parts.gateway, this.#generation, edit.source, edit.diff);
  }

  /**
   * Finds out whether an edit can take effect.
   * @returns Lets it take effect.
   * @throws {StartupError} The edit cannot take effect without a restart, or a new collection cannot be followed.
   */
  async prepare(edited: Config): Promise<() => Promise<void>> {
    const added = await checkAddedCollections(this.#parts.client, this.#inForce, edited);
    const rules = await compileRulesInTurns(edited);
    const { collections } = await this.#parts.gateway.planRules(rules);
    const planned = totalOf(collections);
    return async () => {
      await this.#apply(rules, planned, () => this.#followCollections(edited, added));
      const { ruleTimeStore, ruleTimes, log } = this.#parts;
      // The next start finds out the times that could not be saved, and makes up for them.
      ruleTimeStore
        .save(ruleTimes.all)
        .catch((err: unknown) => log.warn({ err }, "the time of the edit could not be saved"));
      warnOfUnapplied(this.#inForce, edited, log);
      this.#inForce = edited;
    };
  }

  /** Notes an edit that was refused. */
  reject(): void {
    this.#lastReload = "rejected";
    this.#parts.metrics.rulesReloads.inc({ outcome: "rejected" });
  }

  /**
   * @param planned The effects to be expected, for the log.
   * @param atOnce Called in the same turn in which the rules come into force.
   */
  async #apply(rules: RuleSet, planned: EffectCounts, atOnce: () => void): Promise<void> {
    const { gateway, metrics, log } = this.#parts;
    const effect = await gateway.replaceRules(rules, atOnce);
    this.#generation++;
    this.#lastReload = "applied";
    metrics.rulesGeneration.set(this.#generation);
    metrics.rulesReloads.inc({ outcome: "applied" });
    log.info(
      { generation: this.#generation, ...effect, subscriptions: planned },
      "the edited rules are in force",
    );
  }

  #followCollections(edited: Config, added: AddedCollections): void {
    const { keeper, feed, source, log } = this.#parts;
    if (namesOf(edited).join() === namesOf(this.#inForce).join()) return;
    keeper.follow(added);
    keeper.keepOnly(namesOf(edited));
    if (added.length > 0) log.info({ collections: added }, "more collections are followed");
    feed.follow(added.map(({ namespace }) => namespace));
    source.watch(namesOf(edited));
  }
}

/** The part of a configuration that rules are made of, which holds no secret. */
const rulesOf = ({ mongodb: { database }, collections, limits }: Config): RulesSource => ({
  mongodb: { database },
  collections,
  limits,
});

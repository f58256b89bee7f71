import type { Logger } from "pino";
import type { Gateway } from "../gateway/gateway.ts";
import type { EffectCounts } from "../gateway/plan-rules.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { RuleSet } from "../rules/compile-rules.ts";
import type { Readiness } from "./readiness.ts";

/** Which rules are in force, for those who wait for an edit to take effect. */
export class RulesState {
  generation: number;
  lastReload: Readiness["lastReload"] = "none";
  readonly #metrics: Metrics;
  readonly #log: Logger;

  constructor(metrics: Metrics, log: Logger, generation: number) {
    this.generation = generation;
    this.#metrics = metrics;
    this.#log = log;
    metrics.rulesGeneration.set(this.generation);
  }

  /**
   * @param planned What was to be expected of it, for the log.
   * @param atOnce Called in the same turn in which the rules come into force.
   */
  async apply(gateway: Gateway, rules: RuleSet, planned: EffectCounts, atOnce: () => void): Promise<void> {
    const effect = await gateway.replaceRules(rules, atOnce);
    this.generation++;
    this.lastReload = "applied";
    this.#metrics.rulesGeneration.set(this.generation);
    this.#metrics.rulesReloads.inc({ outcome: "applied" });
    this.#log.info(
      { generation: this.generation, ...effect, subscriptions: planned },
      "the edited rules are in force",
    );
  }

  reject(): void {
    this.lastReload = "rejected";
    this.#metrics.rulesReloads.inc({ outcome: "rejected" });
  }
}

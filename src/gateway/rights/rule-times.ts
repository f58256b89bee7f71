import type { RuleSet } from "../../rules/compile-rules.ts";

/**
 * Since when each rule has been in force without a break. A user whom an edit lets in, perhaps again, may see the present state,
 * but not what was before: neither by a snapshot that was read for others earlier, nor by a cursor of before.
 */
export class RuleTimes {
  readonly #startedAt: bigint;
  #since: ReadonlyMap<string, bigint>;

  /**
   * @param rules Those in force from now on.
   * @param since What is known of them from before: cluster times, by the identity of each rule.
   * @param now The cluster time now.
   */
  constructor(rules: RuleSet, since: ReadonlyMap<string, bigint>, now: bigint) {
    this.#startedAt = now;
    // A time to come is one of a deployment that was replaced since.
    this.#since = new Map([...since].map(([identity, time]) => [identity, time > now ? now : time]));
    this.replace(rules, now);
  }

  /** Cluster times, by the identity of each rule. */
  get all(): ReadonlyMap<string, bigint> {
    return this.#since;
  }

  /** The cluster time since which the rule holds. */
  sinceOf(ruleIdentity: string): bigint {
    return this.#since.get(ruleIdentity) ?? 0n;
  }

  /** Other rules take effect at `now`: of those that stood already the time goes on. */
  replace({ collections }: RuleSet, now: bigint): void {
    const since = now > this.#startedAt ? now : this.#startedAt;
    const known = this.#since;
    const rules = [...collections.values()].flatMap((collection) => collection.rules);
    this.#since = new Map(rules.map(({ identity }) => [identity, known.get(identity) ?? since]));
  }
}

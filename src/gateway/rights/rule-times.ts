import assert from "node:assert/strict";
import type { RuleSet } from "../../rules/compile-rules.ts";

/**
 * Since when each rule has been in force without a break. A user whom an edit admits, perhaps again, may see the
 * present state but nothing from before: neither by a snapshot that was read earlier for other clients, nor by an
 * earlier cursor.
 */
export class RuleTimes {
  readonly #startedAt: bigint;
  #since: ReadonlyMap<string, bigint>;

  /**
   * @param rules The rules in force from now on.
   * @param since Their known times: cluster times, by the identity of each rule.
   * @param now The current cluster time.
   */
  constructor(rules: RuleSet, since: ReadonlyMap<string, bigint>, now: bigint) {
    this.#startedAt = now;
    // A time in the future belongs to a deployment that was replaced since.
    this.#since = new Map([...since].map(([identity, time]) => [identity, time > now ? now : time]));
    this.replace(rules, now);
  }

  /** Cluster times, by the identity of each rule. */
  get all(): ReadonlyMap<string, bigint> {
    return this.#since;
  }

  /**
   * The cluster time since which the rule is in force.
   * @throws {AssertionError} It is not in force, so no request may begin under it. A time made up here would admit cursors
   *   and snapshots from before the rule.
   */
  sinceOf(ruleIdentity: string): bigint {
    const since = this.#since.get(ruleIdentity);
    assert(since !== undefined, "a subscription begins under a rule that is not in force");
    return since;
  }

  /**
   * Other rules take effect at `now`. Rules that were in force already keep their time.
   * @param wasInterrupted Whether a rule was not in force for a while before `now`. Its time begins again.
   */
  replace(
    { collections }: RuleSet,
    now: bigint,
    wasInterrupted: (identity: string) => boolean = () => false,
  ): void {
    const since = now > this.#startedAt ? now : this.#startedAt;
    const known = new Map([...this.#since].filter(([identity]) => !wasInterrupted(identity)));
    const rules = [...collections.values()].flatMap((collection) => collection.rules);
    this.#since = new Map(rules.map(({ identity }) => [identity, known.get(identity) ?? since]));
  }
}

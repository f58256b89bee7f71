/**
 * Computes the effect that other rules would have on the active subscriptions, without putting them in force. `tidewire
 * plan` shows it, so that an admin sees before an edit how many users would lose access.
 */
import { TidewireError } from "../protocol/errors.ts";
import { authorizeParsed } from "../rules/authorize.ts";
import { LookupsNeeded } from "../rules/bind-rule.ts";
import type { RuleSet } from "../rules/compile-rules.ts";
import { ruleFor } from "../rules/grant.ts";
import { type RightsEffect, rightsEffect } from "../rules/rights-effect.ts";
import { sameRule } from "../rules/same-rule.ts";
import { type AffectedUser, AffectedUsers } from "./affected-users.ts";
import type { Connection } from "./connection/connection.ts";
import type { Subscription } from "./connection/subscription.ts";

/** `ends`: no rule allows it any more. `unknown`: its rights depend on a lookup set that was not read yet. */
type PlannedEffect = RightsEffect | "ends" | "unknown";
/** How many subscriptions an edit affects, by effect. */
export type EffectCounts = Record<PlannedEffect, number>;

/** Subscriptions that fall under one rule now, and under another one, or the same, afterwards. */
interface RuleMove {
  /** `null` if no rule applies. */
  readonly from: string | null;
  readonly to: string | null;
  readonly effects: EffectCounts;
}

interface CollectionPlan {
  /** The name that clients use. */
  readonly collection: string;
  readonly effects: EffectCounts;
  readonly rules: readonly RuleMove[];
}

/** The effect of an edit on the active subscriptions of a node. */
export interface SubscriptionsPlan {
  readonly connections: number;
  readonly subscriptions: number;
  /** Live queries that do not exist now. At most this many snapshots would be read. */
  readonly newLiveQueries: number;
  readonly collections: readonly CollectionPlan[];
  /** A sample of the users with another effect than `unchanged`. */
  readonly affected: readonly AffectedUser[];
}

/** How long the authorizations of one turn may take, in milliseconds. Other work runs between the turns. */
const TURN_MS = 10;

const noEffects = (): EffectCounts => ({ unchanged: 0, gains: 0, loses: 0, changes: 0, ends: 0, unknown: 0 });

/**
 * Authorizes every subscription under `candidate`, as `reauthorize` would, and counts the effects.
 * @param gone Ends the work with its reason, because nobody waits for the plan any more.
 */
export async function planRules(
  connections: readonly Connection[],
  candidate: RuleSet,
  nowMs: number,
  gone?: AbortSignal,
): Promise<SubscriptionsPlan> {
  const counted = new Counted(candidate, nowMs);
  let turnEndsMs = performance.now() + TURN_MS;
  for (const connection of connections) {
    for (const subscription of connection.subscriptions) {
      counted.add(connection, subscription);
      if (performance.now() < turnEndsMs) continue;
      await new Promise(setImmediate);
      gone?.throwIfAborted();
      turnEndsMs = performance.now() + TURN_MS;
    }
  }
  return counted.plan(connections.length);
}

class Counted {
  readonly #candidate: RuleSet;
  readonly #nowMs: number;
  readonly #moves = new Map<string, Map<string, RuleMove>>();
  /** By the keys of both live queries, because many subscriptions share them. */
  readonly #effects = new Map<string, RightsEffect>();
  readonly #newKeys = new Set<string>();
  readonly #affected = new AffectedUsers();
  #subscriptions = 0;

  constructor(candidate: RuleSet, nowMs: number) {
    this.#candidate = candidate;
    this.#nowMs = nowMs;
  }

  add(connection: Connection, subscription: Subscription): void {
    const { collection } = subscription.request;
    const { rules } = connection.context;
    const ruleUnder = ({ collections }: RuleSet) => {
      const own = collections.get(collection);
      return (own && ruleFor(own, connection.identity)) ?? null;
    };
    const applies = ruleUnder(rules);
    const same = applies && sameRule(applies, rules, this.#candidate, collection);
    const from = applies?.name ?? null;
    const to = (same ?? ruleUnder(this.#candidate))?.name ?? null;
    this.#subscriptions++;
    const isSame = same !== null && !subscription.attachment.isDetached;
    const effect = isSame ? "unchanged" : this.#effectOn(connection, subscription);
    this.#moveOf(collection, from, to).effects[effect]++;
    if (effect === "unchanged") return;
    const { identity } = connection;
    const isAnonymous = identity === null;
    this.#affected.add({ sub: identity?.sub ?? null, isAnonymous, collection, effect, from, to });
  }

  plan(connections: number): SubscriptionsPlan {
    const collections = [...this.#moves].sort().map(([collection, moves]) => {
      const rules = [...moves.values()];
      return { collection, effects: totalOf(rules), rules };
    });
    const newLiveQueries = this.#newKeys.size;
    const affected = this.#affected.sample();
    return { connections, subscriptions: this.#subscriptions, newLiveQueries, collections, affected };
  }

  #moveOf(collection: string, from: string | null, to: string | null): RuleMove {
    const moves = this.#moves.get(collection) ?? new Map<string, RuleMove>();
    this.#moves.set(collection, moves);
    const key = JSON.stringify([from, to]);
    const move = moves.get(key) ?? { from, to, effects: noEffects() };
    moves.set(key, move);
    return move;
  }

  #effectOn(
    { context, identity }: Connection,
    { request, attachment, lookups }: Subscription,
  ): PlannedEffect {
    try {
      const query = authorizeParsed(
        this.#candidate,
        identity,
        request,
        this.#nowMs,
        (lookup) => lookups.values(lookup) ?? context.feed.lookups.peek(lookup.key),
      );
      // A subscription that waits for its sets has no live query to compare with.
      if (attachment.isDetached) return "unknown";
      if (context.feed.liveQueryBy(query.key) === undefined) this.#newKeys.add(query.key);
      const pair = `${attachment.query.key} ${query.key}`;
      const effect = this.#effects.get(pair) ?? rightsEffect(attachment.query, query);
      this.#effects.set(pair, effect);
      return effect;
    } catch (error) {
      if (error instanceof LookupsNeeded) return "unknown";
      if (error instanceof TidewireError) return "ends";
      throw error;
    }
  }
}

/** The sum of several counts. */
export function totalOf(counted: readonly { readonly effects: EffectCounts }[]): EffectCounts {
  const total = noEffects();
  for (const { effects } of counted) for (const effect of EFFECTS) total[effect] += effects[effect];
  return total;
}

const EFFECTS = Object.keys(noEffects()) as PlannedEffect[]; // `Object.keys` returns plain strings

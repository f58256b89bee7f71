/** A sample of the users that an edit of the rules affects, so that an admin sees who they are before the edit. */

/** Effects that count as one on a user, the most serious first. */
const EFFECTS = ["ends", "loses", "changes", "gains", "unknown"] as const;

/** One user, and the effect on their subscriptions to a collection. It holds no claims but `sub`, and no values. */
export interface AffectedUser {
  /** At most `SUB_MAX` characters; `null` for an anonymous user, and for a token without `sub`. */
  readonly sub: string | null;
  readonly isAnonymous: boolean;
  /** The name that clients use. */
  readonly collection: string;
  readonly effect: (typeof EFFECTS)[number];
  /** The rule that applies now; `null` if none does. */
  readonly from: string | null;
  /** The rule that would apply. */
  readonly to: string | null;
}

/** How many users a sample holds. */
const USERS_MAX = 20;
/** A longer `sub` is cut. */
const SUB_MAX = 200;

/** Users with the same effect, in the same collection, under the same rules. */
type Group = Map<string, AffectedUser>;

/** Takes any number of users, and keeps a bounded number of them. */
export class AffectedUsers {
  /** By effect. More groups than a sample has users are never shown. */
  readonly #groups = new Map<string, Map<string, Group>>(EFFECTS.map((effect) => [effect, new Map()]));

  /** Keeps the user if the sample may need it. */
  add(user: AffectedUser): void {
    const { effect, collection, from, to, isAnonymous } = user;
    const groups = this.#groups.get(effect);
    if (groups === undefined) return;
    const key = JSON.stringify([collection, from, to]);
    const group = groups.get(key) ?? new Map<string, AffectedUser>();
    if (group.size >= USERS_MAX || (group.size === 0 && groups.size >= USERS_MAX)) return;
    groups.set(key, group);
    const sub = user.sub === null ? null : cut(user.sub);
    const name = JSON.stringify([isAnonymous, sub]);
    if (!group.has(name)) group.set(name, { sub, isAnonymous, collection, effect, from, to });
  }

  /** One user of each group, then a second one of each, until the sample is full. Users of one group are together. */
  sample(): readonly AffectedUser[] {
    const groups = [...this.#groups.values()].flatMap((ofEffect) => [...ofEffect.values()]);
    const lists = groups.map((group) => [...group.values()]);
    const shares = lists.map(() => 0);
    let left = USERS_MAX;
    for (let round = 0; round < USERS_MAX; round++) {
      for (const [index, list] of lists.entries()) {
        if (left === 0 || list.length <= round) continue;
        shares[index] = round + 1;
        left--;
      }
    }
    return lists.flatMap((list, index) => list.slice(0, shares[index]));
  }
}

const cut = (sub: string) =>
  sub.length > SUB_MAX ? `${sub.slice(0, SUB_MAX - 1).replace(/[\uD800-\uDBFF]$/, "")}…` : sub;

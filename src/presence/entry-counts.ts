import type { EntryOwner } from "./held-entry.ts";

/** How many entries each user, and each tab, has on this node. Those count whose connection has ended, until they leave. */
export class EntryCounts {
  readonly #byKey = new Map<string, number>();

  ofUser({ user }: EntryOwner): number {
    return this.#byKey.get(userKey(user)) ?? 0;
  }

  ofTab({ user, tab }: EntryOwner): number {
    return this.#byKey.get(tabKey(user, tab)) ?? 0;
  }

  add({ user, tab }: EntryOwner, count: 1 | -1): void {
    for (const key of [userKey(user), tabKey(user, tab)]) {
      const next = (this.#byKey.get(key) ?? 0) + count;
      if (next > 0) this.#byKey.set(key, next);
      else this.#byKey.delete(key);
    }
  }
}

const userKey = (user: string) => `${user} `;
// A digest contains no space, so that no tab makes the key of a user.
const tabKey = (user: string, tab: string) => `${user} ${tab}.`;

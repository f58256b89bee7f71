import { Turns } from "./turns.ts";

/**
 * The first items after a key, in the order of their keys. Memory is bounded by `limit`, whatever the number of items,
 * and other work runs in between.
 */
export async function firstAfter<T>(
  items: Iterable<T>,
  keyOf: (item: T) => string,
  { after, limit }: { readonly after: string | undefined; readonly limit: number },
  isWanted: (item: T) => boolean,
): Promise<T[]> {
  const found: { readonly key: string; readonly item: T }[] = [];
  const turns = new Turns();
  for (const item of items) {
    await turns.pause();
    const key = keyOf(item);
    const last = found.at(-1);
    const isTooLate = found.length >= limit && last !== undefined && key >= last.key;
    if (isTooLate || (after !== undefined && key <= after) || !isWanted(item)) continue;
    insert(found, { key, item });
    if (found.length > limit) found.pop();
  }
  return found.map(({ item }) => item);
}

function insert<T>(
  sorted: { readonly key: string; readonly item: T }[],
  one: { key: string; item: T },
): void {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((sorted[middle]?.key ?? "") < one.key) from = middle + 1;
    else to = middle;
  }
  sorted.splice(from, 0, one);
}

// How a long list is divided into live queries. Each page is one, and neighbours are joined in long lists, so that their
// number stays small.
import type { Doc } from "../result-set.ts";

/** About how many live queries a list has. A connection has a limit of subscriptions (`limits.subscriptions`). */
const PARTS = 16;

/** A list in parts: the rows that end them, and the documents of each. */
export interface Parts {
  /** The last row of each part except the last part, which has no end. */
  readonly ends: readonly Doc[];
  readonly docs: readonly (readonly Doc[])[];
}

/** The number of documents that a part should have. */
function targetOf({ docs }: Parts, size: number): number {
  const total = docs.reduce((sum, part) => sum + part.length, 0);
  return Math.max(size, Math.ceil(total / PARTS));
}

/** Whether a part has grown so far that it should be divided. The last part has a limit, and cannot grow. */
export function isUneven(parts: Parts, size: number): boolean {
  const target = targetOf(parts, size);
  return parts.docs.slice(0, -1).some(({ length }) => length > 2 * target);
}

/** The ends of parts of about equal size. Parts that need no other size keep their ends, and so their live queries. */
export function even(parts: Parts, size: number): readonly Doc[] {
  const target = targetOf(parts, size);
  const ends: Doc[] = [];
  let before = 0;
  for (const [at, end] of parts.ends.entries()) {
    const docs = parts.docs[at] ?? [];
    const isSmall = ends.length > 0 && before + docs.length <= target;
    if (isSmall) ends.pop();
    before = isSmall ? before + docs.length : docs.length;
    for (let row = target; before > 2 * target; row += target) {
      const last = docs[row - 1];
      if (last !== undefined) ends.push(last);
      before -= target;
    }
    ends.push(end);
  }
  return ends;
}

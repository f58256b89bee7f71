import type { Connection } from "../../gateway/connection/connection.ts";
import type { RuleSet } from "../../rules/compile-rules.ts";
import type { Namespace } from "../../source/preflight.ts";
import type { Answers } from "../questions.ts";
import { type ClaimParts, claimNames } from "./claim-names.ts";
import { fieldNames } from "./field-names.ts";
import { KeptForAWhile } from "./kept-for-a-while.ts";
import type { NamedPath } from "./name-tree.ts";

/** Collections of one answer. */
const COLLECTIONS_MAX = 1_000;

/** The parts of a node from which names for the editor of rules are taken. */
export interface NameParts {
  /** The rules in force. */
  readonly rules: () => { readonly rules: RuleSet };
  /** Whether the service follows a collection. No other one is read. */
  readonly isFollowed: (namespace: string) => boolean;
  /** Reads some documents of a collection. */
  readonly sample: (namespace: Namespace) => Promise<readonly Uint8Array[]>;
  /** The names of the collections of the database, at most as many as asked for. */
  readonly stored: (most: number) => Promise<readonly string[]>;
  readonly gateway: { readonly each: () => Iterable<Pick<Connection, "identity">> };
}

/** Answers with the names that an editor of rules offers. */
export function nameAnswers(
  { rules, isFollowed, sample, stored, gateway }: NameParts,
  now: () => number = Date.now,
): Pick<Answers, "ruleNames" | "claimNames"> {
  const fields = new KeptForAWhile<readonly NamedPath[]>(now);
  const claims = new KeptForAWhile<readonly ClaimParts[]>(now);
  const collectionsOf = new KeptForAWhile<readonly string[]>(now);
  // The other names are of use without these, which the user of the service may have no right to list.
  const storedNow = () => collectionsOf.of("", () => stored(COLLECTIONS_MAX)).catch(() => []);
  const fieldsOf = async (name: string) => {
    const found = rules().rules.collections.get(name);
    if (found === undefined) return null;
    const { database, collectionName: collection } = found;
    const namespace = `${database}.${collection}`;
    // Before the kept answer as well: the collection may have left the rules since.
    if (!isFollowed(namespace)) return null;
    return fields.of(namespace, async () => fieldNames(await sample({ database, collection })));
  };
  return {
    ruleNames: async (collection) => {
      const collections = [...rules().rules.collections.keys()].slice(0, COLLECTIONS_MAX);
      if (collection === null) return { collections, stored: await storedNow(), fields: null };
      const paths = await fieldsOf(collection);
      if (paths === null) return null;
      return {
        collections,
        stored: await storedNow(),
        fields: paths.map(({ parts, types }) => ({ path: parts.join("."), types })),
      };
    },
    claimNames: () => claims.of("", () => claimNames(claimsOf(gateway.each()))),
  };
}

function* claimsOf(connections: Iterable<Pick<Connection, "identity">>) {
  for (const { identity } of connections) yield identity?.claims ?? null;
}

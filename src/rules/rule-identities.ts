import { createHash } from "node:crypto";
import type { CollectionOptions } from "./options.ts";

/**
 * Digests of the rules of a collection. A rule grants its documents to users to whom no earlier rule applies, so each
 * digest covers the earlier rules as well. It covers the name of the collection in MongoDB: equal rules of two
 * collections are in force at different times. Neither the name of the rule matters nor the name that clients use for
 * the collection. One running hash serves all rules, because hashing the earlier ones again for each rule took seconds
 * for some thousand rules.
 */
export function* ruleIdentities(
  { lookups, rules }: Pick<CollectionOptions, "lookups" | "rules">,
  database: string,
  collectionName: string,
): Generator<string, undefined> {
  const text = (value: unknown) => JSON.stringify([value]).slice(1, -1);
  const head = [database, collectionName, lookups].map(text).join();
  const running = createHash("sha256").update(`[${head},[`);
  let separator = "";
  for (const rule of rules) {
    yield running
      .copy()
      .update(`],${text({ ...rule, name: undefined })}]`)
      .digest("base64url");
    running.update(separator + text([rule.anonymous, rule.when]));
    separator = ",";
  }
}

/** Rule sets as an admin would push them, without the command line. */
import type { MongoClient } from "mongodb";
import { stringify } from "yaml";
import { type RuleSetDraft, RuleSetStore } from "../../src/source/rule-set-store.ts";

/** A draft of these collections; everything else is of no interest to the test. */
export const draftOf = (collections: unknown, parent: number) => ({
  collections: typeof collections === "string" ? collections : stringify(collections),
  tests: "",
  author: "ada",
  message: "an edit",
  at: new Date(),
  parent,
  plan: null,
  testResult: null,
});

/**
 * Puts collections in force on top of the set in force.
 * @param more Other parts of the set.
 * @returns The number of the set.
 */
export async function pushRules(
  client: MongoClient,
  database: string,
  collections: unknown,
  more: Partial<RuleSetDraft> = {},
): Promise<number> {
  const store = new RuleSetStore(client.db(`${database}-state`));
  const parent = (await store.inForce())?.set ?? 0;
  const number = await store.add({ ...draftOf(collections, parent), ...more });
  if (!(await store.putInForce(number, parent))) throw new Error("another set came into force");
  return number;
}

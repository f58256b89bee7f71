import { MongoClient } from "mongodb";
import type { Config } from "../config/config.ts";
import { readConfigText } from "../config/config-text.ts";
import { statePrefixOf } from "../config/namespaces.ts";
import { collectionsText } from "../config/rule-set-text.ts";
import { answerOf, isMongoFailure } from "../source/mongo.ts";
import { clientOptions } from "../source/replaceable-client.ts";
import { RuleSetStore } from "../source/rule-set-store.ts";
import { unreachable } from "../source/start-patience.ts";
import { prefixed } from "../source/state-names.ts";
import { demoRules } from "./demo-config.ts";

/** How long MongoDB may take for a few small documents, in milliseconds. */
const WRITE_MS = 30_000;

/**
 * Puts the rules of the demo in force, as at the start of every run. Sets of earlier runs stay in the history.
 * @throws {StartupError} MongoDB cannot be reached.
 */
export async function putDemoRulesInForce(uri: string, config: Config): Promise<void> {
  const { stateDatabase, connectTimeoutMs } = config.mongodb;
  const client = new MongoClient(uri, { appName: "demo-rules", ...clientOptions(connectTimeoutMs) });
  try {
    await client.connect();
    const sets = new RuleSetStore(prefixed(client.db(stateDatabase), statePrefixOf(config)));
    await answerOf(client, () => pushIfOthers(sets, config.rules.setsKept), { timeoutMs: WRITE_MS });
  } catch (error) {
    throw isMongoFailure(error) ? await unreachable(error, client) : error;
  } finally {
    await client.close();
  }
}

async function pushIfOthers(sets: RuleSetStore, setsKept: number): Promise<void> {
  const text = await demoRules();
  const collections = collectionsText(text, readConfigText(text, "the demo's rules", {}).value);
  const parent = (await sets.inForce())?.set ?? 0;
  const present = await sets.load(parent);
  if (present?.collections === collections && present.tests === "") return;
  const about = { author: "demo", message: "The rules at the start of the demo", at: new Date() };
  await sets.push({ collections, tests: "", ...about, parent, plan: null, testResult: null }, setsKept);
}

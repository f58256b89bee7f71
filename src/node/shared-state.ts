import { statePrefixOf } from "../config/namespaces.ts";
import { Sealer } from "../feed/sealer.ts";
import { Deployment } from "../source/deployment.ts";
import { EpochStore } from "../source/epoch-store.ts";
import { guardedRefresh } from "../source/guarded-refresh.ts";
import { answerOf, STATE_TIMEOUT_MS } from "../source/mongo.ts";
import type { ReplaceableClient } from "../source/replaceable-client.ts";
import { RuleTimeStore } from "../source/rule-time-store.ts";
import { SealingKeyStore } from "../source/sealing-keys.ts";
import { readServerTime, ServerClock } from "../source/server-clock.ts";
import type { StateDatabase } from "../source/state-database.ts";
import { checkStateNames, prefixed } from "../source/state-names.ts";
import { identifyDeployment } from "../source/topology.ts";
import type { Basics } from "./basics.ts";

/** Keys are read again this often, because another node may have rotated them. In milliseconds. */
const KEYS_INTERVAL_MS = 60_000;

/** The state that all nodes of a fleet share, in the state database. */
export interface SharedState {
  readonly database: StateDatabase;
  /** Waits for an answer of the database for a limited time. */
  readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly deployment: Deployment;
  readonly clock: ServerClock;
  readonly sealer: Sealer;
  readonly rules: RuleTimeStore;
}

/** Opens the shared state, and keeps its keys and its clock up to date. */
export async function openState(basics: Basics, client: ReplaceableClient): Promise<SharedState> {
  const { config, onStop } = basics;
  const { stateDatabase } = config.mongodb;
  const prefix = statePrefixOf(config);
  await checkStateNames(client, stateDatabase, prefix);
  const database = prefixed(client.stateDatabase(stateDatabase), prefix);
  const identify = async () => (await identifyDeployment(client)).id;
  const deployment = new Deployment(client, new EpochStore(database), identify);
  const answer: SharedState["answer"] = (ask) => answerOf(client, ask, { timeoutMs: STATE_TIMEOUT_MS });
  const clock = new ServerClock(() => answer(() => readServerTime(client)), basics);
  onStop(async () => clock.stop());
  await clock.start();
  const keyStore = new SealingKeyStore(database);
  const sealer = new Sealer(await keyStore.load(), () => answer(() => keyStore.load()));
  const warning = "the sealing keys could not be read again; the keys in memory stay in force";
  const reload = guardedRefresh(basics, "state.keys", () => sealer.reload(), warning);
  const timer = setInterval(reload, KEYS_INTERVAL_MS).unref();
  onStop(async () => clearInterval(timer));
  return { database, answer, deployment, clock, sealer, rules: new RuleTimeStore(database) };
}

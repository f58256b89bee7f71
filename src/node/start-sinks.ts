import type { GatewayContext } from "../gateway/context.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { SentRowStore } from "../sinks/sent-row-store.ts";
import { SinkStore } from "../sinks/sink-store.ts";
import { Sinks } from "../sinks/sinks.ts";
import { makeTarget } from "../sinks/targets/make-target.ts";
import { LeaseStore } from "../source/lease-store.ts";
import type { MongoAccess } from "../source/mongo.ts";
import type { Basics } from "./basics.ts";
import type { SharedState } from "./shared-state.ts";

/** The parts of a node that sinks work with. */
interface SinkHost {
  readonly client: MongoAccess;
  readonly state: SharedState;
  readonly gateway: Gateway;
  readonly context: GatewayContext;
}

/** Lets this node compete for the sinks of the configuration. @returns `null` if there are none. */
export async function startSinks(
  { config, node, id, log, metrics, onStop }: Basics,
  { client, state: { database, answer }, gateway, context }: SinkHost,
): Promise<Sinks | null> {
  if (Object.keys(config.sinks).length === 0) return null;
  const store = new SinkStore(database, client);
  const rows = new SentRowStore(database);
  // A package that is not installed is found now, and not when this node becomes the one that sends.
  for (const [sink, { to }] of Object.entries(config.sinks))
    await (await makeTarget(to, { sink, log, metrics })).close();
  await answer(() => store.prepare());
  await answer(() => rows.prepare());
  const leases = new LeaseStore(database);
  const sinks = new Sinks(config.sinks, {
    node,
    holder: id,
    store,
    rows,
    leases,
    answer,
    gateway,
    context,
    log,
    metrics,
  });
  sinks.start();
  onStop(() => sinks.stop());
  return sinks;
}

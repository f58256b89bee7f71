import { nameOf, presenceOf } from "../config/namespaces.ts";
import type { GatewayContext } from "../gateway/context.ts";
import { startPresence } from "../presence/start-presence.ts";
import type { Basics } from "./basics.ts";
import type { SharedState } from "./shared-state.ts";

/**
 * Starts presence if it is configured, and stops it with the node.
 * @throws The error of MongoDB.
 */
export async function openPresence(
  { config, id, log, metrics, onStop }: Basics,
  { database, answer, clock }: SharedState,
  context: GatewayContext,
): Promise<void> {
  const { presence: options } = config;
  if (options === undefined) return;
  const running = await startPresence({
    options,
    id,
    database,
    answer,
    namespace: nameOf(presenceOf(config)),
    context,
    feed: context.feed,
    metrics,
    serverNowMs: () => clock.nowMs(),
    log,
  });
  onStop(() => running.stop());
  context.presence = running.entries;
}

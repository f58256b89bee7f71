import { MongoServerError } from "mongodb";
import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import { statePrefixOf } from "../config/namespaces.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { EpochStore } from "../source/epoch-store.ts";
import { EMBEDDED_URI } from "../source/options.ts";
import { clientOptions, ReplaceableClient } from "../source/replaceable-client.ts";
import { StartPatience, type WhileWaiting } from "../source/start-patience.ts";
import { prefixed } from "../source/state-names.ts";
import { downReasonOf } from "../source/stream-errors.ts";
import { type StartPorts, WaitingRoom } from "./waiting-room.ts";

const TEXTS = {
  "no-primary":
    "MongoDB has no primary: too few members of the replica set answer to elect one (see rs.status()). The node waits " +
    "and starts by itself when there is one",
  "no-majority":
    "MongoDB has a primary and no majority: too few members confirm its writes (see rs.status()). The node waits and " +
    "starts by itself when a majority is back",
} as const;

/**
 * Waits until the replica set has a primary whose writes a majority confirms. Meanwhile the node's ports answer that it is
 * not ready, and why. Missing privileges are left to the start itself, which reports all of them at once.
 * @returns The ports on which the node has to listen.
 * @throws {StartupError} No member answered within `mongodb.startTimeout`, or MongoDB refuses the login.
 */
export async function awaitMajority(config: Config, log: Logger): Promise<StartPorts> {
  const { uri, connectTimeoutMs, startTimeoutMs, stateDatabase } = config.mongodb;
  const metrics = createMetrics();
  const room = new WaitingRoom({ config, log, metrics });
  if (uri === EMBEDDED_URI) return room.ports;
  const client = new ReplaceableClient(
    uri,
    { appName: "tidewire", ...clientOptions(connectTimeoutMs) },
    { log, metrics },
  );
  let hasWaited = false;
  const whileWaiting: WhileWaiting = async (status) => {
    hasWaited = true;
    await room.wait({ status, text: TEXTS[status] });
  };
  const patience = new StartPatience(client, startTimeoutMs, log, whileWaiting);
  const epochs = new EpochStore(prefixed(client.stateDatabase(stateDatabase), statePrefixOf(config)));
  try {
    await patience.run((at) => at.connect());
    await patience.run(() => epochs.confirmedTime().catch(leaveToStart));
    if (hasWaited) log.info("MongoDB has a majority; the node starts");
  } finally {
    await room.close();
    await client.close();
  }
  return room.ports;
}

/** A missing privilege, or a server that knows no such read: the checks of the start report it with all other problems. */
function leaveToStart(error: unknown): void {
  if (!(error instanceof MongoServerError) || downReasonOf(error) !== "refused") throw error;
}

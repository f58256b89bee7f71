import { parseArgs } from "node:util";
import { loadConfig } from "../config/config.ts";
import { EpochStore } from "../source/epoch-store.ts";
import { identifyDeployment } from "../source/topology.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command } from "./command.ts";
import { withStateDatabase } from "./state-database.ts";

const HELP = `Usage: tidewire new-epoch [options]

Ends the unbroken order of changes and begins another one. Every earlier cursor is answered with a reset, and every
client receives a new snapshot. Run it after MongoDB was restored from a backup, before the service starts again.

The service begins a new epoch by itself if it can detect the change: another deployment, or a clock that went back. It
detects neither if the restored MongoDB was written to until its clock passed the old position.

Stop every node first and start them afterwards. A running node stays in the old epoch until it opens its change
stream again.

Options:
  -c, --config FILE   the configuration (default config/tidewire.yaml)
      --reason TEXT   stored with the epoch, for the record (default "begun by an operator")

Examples:
  tidewire new-epoch --reason "restored the backup of May 4"
  tidewire new-epoch --config deploy/tidewire.yaml`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { ...CONFIG_FLAG, reason: { type: "string", default: "begun by an operator" } },
  });
  const config = await loadConfig(values.config, io.env);
  const { before, after } = await withStateDatabase(config, async (client, database) => {
    const store = new EpochStore(database);
    const { id } = await identifyDeployment(client);
    const { epoch } = await store.current(id);
    return { before: epoch.id, after: (await store.begin(id, values.reason, epoch.id)).id };
  });
  io.out(`epoch ${after} has begun, ${before} has ended: every client gets a new snapshot`);
  io.out("start the nodes now; one that still runs has to be restarted");
  return 0;
}

/** `tidewire new-epoch`: ends the order of changes, so that no earlier cursor counts. For use after a restored backup. */
export const newEpoch: Command = { help: HELP, run };

import { parseArgs } from "node:util";
import { loadConfig } from "../config/config.ts";
import { SealingKeyStore } from "../source/sealing-keys.ts";
import { CONFIG_FLAG, type Command, type Io } from "./command.ts";
import { withStateDatabase } from "./state-database.ts";

const HELP = `Usage: tidewire rotate-keys [options]

Puts a new key in front of those that seal tickets. Running nodes take it up within a minute; no client notices.
The key before it stays good for opening, so that everybody can still resume. A second rotation drops it: then
who was away since before the first one gets a reset and a new snapshot.

When a key may have leaked, rotate twice.

Options:
  -c, --config FILE   the configuration (default config/tidewire.yaml)

With mongodb.uri "embedded", stop the service first: its mongod runs only with it.

Examples:
  tidewire rotate-keys
  tidewire rotate-keys --config deploy/tidewire.yaml`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: CONFIG_FLAG });
  const config = await loadConfig(values.config, io.env);
  const keys = await withStateDatabase(config, (_client, database) => new SealingKeyStore(database).rotate());
  const [newest, ...older] = keys.map(({ id }) => id);
  io.out(`key ${newest} seals from now on; running nodes take it up within a minute`);
  io.out(`key ${older.join(", ")} still opens, until the next rotation`);
  return 0;
}

export const rotateKeys: Command = { help: HELP, run };

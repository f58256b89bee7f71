import { parseArgs } from "node:util";
import { loadConfig } from "../config/config.ts";
import { SealingKeyStore } from "../source/sealing-keys.ts";
import type { Io } from "../terminal/io.ts";
import { CONFIG_FLAG, type Command } from "./command.ts";
import { withStateDatabase } from "./state-database.ts";

const HELP = `Usage: tidewire rotate-keys [options]

Adds a new key in front of the keys that seal tickets. Running nodes use it within a minute. Clients do not notice.
The key before it stays valid for opening, so that every client can still resume. A second rotation drops that key:
clients that have been away since before the first rotation then receive a reset and a new snapshot.

If a key may have leaked, rotate twice.

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

/** `tidewire rotate-keys`: a new key for sealing tickets. */
export const rotateKeys: Command = { help: HELP, run };

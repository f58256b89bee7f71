import { parseArgs } from "node:util";
import { newVapidKeys } from "../push/vapid.ts";
import type { Io } from "../terminal/io.ts";
import type { Command } from "./command.ts";

const HELP = `Usage: tidewire vapid-keys

Makes the key pair by which push services recognize this service (VAPID, RFC 8292). It is printed this once and saved
nowhere. Browsers are bound to the public key: with another pair, every user has to register again.

Options:
      --json        print JSON, for machines

Examples:
  tidewire vapid-keys`;

async function run(args: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { json: { type: "boolean" } } });
  const keys = newVapidKeys();
  if (values.json) io.out(JSON.stringify(keys, null, 2));
  else {
    io.out(`The private key, for the environment of every node:

  VAPID_PRIVATE_KEY=${keys.privateKey}

The section of the configuration; restart the nodes afterwards:

push:
  vapid:
    subject: mailto:ops@example.com          # how push services reach you
    publicKey: ${keys.publicKey}
    privateKey: \${VAPID_PRIVATE_KEY}`);
  }
  return 0;
}

/** `tidewire vapid-keys`: makes a key pair for push registrations. */
export const vapidKeys: Command = { help: HELP, run };

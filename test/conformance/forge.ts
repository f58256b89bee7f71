/** Cursors and tickets as the service itself would make them: from the keys in its state database. */
import { CursorCodec, type Position } from "../../src/feed/cursor.ts";
import { Sealer } from "../../src/feed/sealer.ts";
import { type Ticket, TicketSealer } from "../../src/feed/ticket.ts";
import { Deployment } from "../../src/source/deployment.ts";
import { EpochStore } from "../../src/source/epoch-store.ts";
import { SealingKeyStore } from "../../src/source/sealing-keys.ts";
import { identifyDeployment } from "../../src/source/topology.ts";
import type { SharedService } from "./shared-service.ts";

export interface Forge {
  cursor(position: Position): string;
  ticket(ticket: Ticket): string;
  /** The contents of a ticket that the service issued. */
  open(ticket: string): Promise<Ticket | null>;
}

export async function forgeOf({ client, stateDatabase }: SharedService): Promise<Forge> {
  const database = client.db(stateDatabase);
  const { epoch } = await deploymentOf({ client, stateDatabase }).epoch();
  const codec = new CursorCodec(epoch);
  const keys = await new SealingKeyStore(database).load();
  const tickets = new TicketSealer(new Sealer(keys, async () => keys));
  return {
    cursor: (position) => codec.encode(position),
    ticket: (ticket) => tickets.seal(ticket),
    open: (ticket) => tickets.open(ticket),
  };
}

/** Ends the epoch, as an admin does after restoring a backup; the service notices when it starts. */
export async function endEpoch(service: SharedService): Promise<void> {
  const deployment = deploymentOf(service);
  const { epoch } = await deployment.epoch();
  await deployment.newEpoch("a test", epoch.id);
}

function deploymentOf({
  client,
  stateDatabase,
}: Pick<SharedService, "client" | "stateDatabase">): Deployment {
  const identify = async () => (await identifyDeployment(client)).id;
  return new Deployment(client, new EpochStore(client.db(stateDatabase)), identify);
}

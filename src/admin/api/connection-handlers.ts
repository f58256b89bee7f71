import type { ActEffect, ConnectionAct, ConnectionDetail, ConnectionRow, Processes } from "../questions.ts";
import type { Acts } from "./acts.ts";
import { ApiError, type Call } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { timeOrNull } from "./times.ts";

type ConnectionHandlers = Pick<Handlers, "connections" | "connection" | "disconnect" | "reauthorize">;

const NOTES: Readonly<Record<ConnectionAct, string>> = {
  disconnect:
    "The client may connect again at once, here or on another node. To keep it out, revoke its tokens (POST /api/v1/revocations).",
  reauthorize: "The rules in force were applied once more. Every edit of the rules does the same.",
};

const UNCONFIRMED = "Look at the connection (GET /api/v1/connections/{id}). To ask again does no harm";

/** The handlers of connections. */
export function connectionHandlers(processes: Processes, acts: Acts): ConnectionHandlers {
  const act =
    (kind: ConnectionAct) =>
    async (call: Call, { id }: { readonly id: string }) => {
      const connection = await findConnection(processes, id);
      const target = { connection: id, sub: connection.sub, address: connection.address };
      const asked = { act: kind, target, ifUnconfirmed: UNCONFIRMED };
      const effects = await acts.run(call, asked, () => processes.all("act", { id, act: kind }));
      const effect = effects.find((one): one is ActEffect => one !== null);
      if (effect === undefined) throw await notHere(processes, id);
      return { ...effect, lasts: false, note: NOTES[kind] };
    };
  return {
    connections: async (_call, { limit, ...search }) => {
      // One more than the page shows whether there is another page.
      const lists = await processes.all("connections", { ...search, limit: limit + 1 });
      const found = lists.flat().sort((a, b) => (a.id < b.id ? -1 : 1));
      const page = found.slice(0, limit);
      const next = found.length > limit ? (page.at(-1)?.id ?? null) : null;
      return { connections: page.map(rowOf), next };
    },
    connection: async (_call, { id }) => {
      const { list, tokenExpiresAtMs, ...row } = await findConnection(processes, id);
      return { ...rowOf(row), tokenExpiresAt: timeOrNull(tokenExpiresAtMs), list };
    },
    disconnect: act("disconnect"),
    reauthorize: act("reauthorize"),
  };
}

/** The refusal of a connection that no process of this listener has. It names the node that has it, if one does. */
export async function notHere(processes: Processes, id: string): Promise<ApiError> {
  const [nodeId] = id.split(".");
  const own = await processes.all("overview", undefined);
  const isOwn = own.some(({ status }) => status.id === nodeId);
  const fleet = isOwn ? [] : await processes.one("fleet", undefined).catch(() => []); // MongoDB does not answer
  const owner = fleet.find((node) => node.id === nodeId);
  if (owner === undefined)
    return new ApiError(404, "no-connection", "there is no such connection: it has ended");
  const text = `the connection is on the node ${owner.node}: ask the admin listener of that node`;
  return new ApiError(409, "other-node", text);
}

/**
 * A connection of the processes of this listener.
 * @throws {ApiError} None of them has it.
 */
export async function findConnection(processes: Processes, id: string): Promise<ConnectionDetail> {
  const found = await processes.all("connection", id);
  const connection = found.find((one): one is ConnectionDetail => one !== null);
  if (connection === undefined) throw await notHere(processes, id);
  return connection;
}

const rowOf = ({ connectedAtMs, ...row }: ConnectionRow) => ({
  ...row,
  connectedAt: timeOrNull(connectedAtMs),
});

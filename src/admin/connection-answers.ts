import type { Identity } from "../auth/verify-token.ts";
import type { Connection } from "../gateway/connection/connection.ts";
import type { Subscription } from "../gateway/connection/subscription.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { firstAfter } from "./first-after.ts";
import type {
  Answers,
  ConnectionDetail,
  ConnectionRow,
  ConnectionSearch,
  SubscriptionRow,
} from "./questions.ts";

/** A connection may have many thousand subscriptions. This many are shown. */
const SUBSCRIPTIONS_MAX = 1_000;

/** The node whose connections these are. */
interface NodeNames {
  readonly node: string;
  readonly id: string;
}

/** A connection of this process, by the id that admins use. */
function connectionOf(gateway: Gateway, names: NodeNames, id: string): Connection | undefined {
  if (!id.startsWith(`${names.id}.`)) return undefined;
  return gateway.connection(id.slice(names.id.length + 1));
}

/** The user of a connection, `null` for an anonymous one; `undefined` for no such connection, and before `welcome`. */
export function identityOf(gateway: Gateway, names: NodeNames, id: string): Identity | null | undefined {
  const connection = connectionOf(gateway, names, id);
  return connection === undefined || connection.login.welcomedAtMs === null ? undefined : connection.identity;
}

/** Answers the questions about connections, from the connections of this process. */
export function connectionAnswers(
  gateway: Gateway,
  names: NodeNames,
): Pick<Answers, "connections" | "connection" | "act"> {
  const idOf = ({ id }: Connection) => `${names.id}.${id}`;
  const find = (id: string) => connectionOf(gateway, names, id);
  const rowOf = (connection: Connection): ConnectionRow => ({
    id: idOf(connection),
    node: names.node,
    sub: connection.identity?.sub ?? null,
    address: connection.address,
    transport: connection.outbox.transport,
    client: connection.login.client ?? null,
    connectedAtMs: connection.login.welcomedAtMs,
    subscriptions: connection.subscriptions.size,
    outboxBytes: connection.outbox.bufferedBytes,
    isBehind: connection.subscriptions.isBehind,
  });
  return {
    connections: async (search) => {
      const found = await firstAfter(gateway.each(), idOf, pageOf(search), (connection) =>
        isMeant(connection, search),
      );
      return found.map(rowOf);
    },
    connection: (id) => {
      const connection = find(id);
      return connection === undefined ? null : detailOf(connection, rowOf(connection), names);
    },
    act: async ({ id, act }) => {
      const connection = find(id);
      if (connection === undefined) return null;
      if (act === "reauthorize") return gateway.reauthorize(connection);
      const ended = connection.subscriptions.size;
      gateway.disconnect(connection);
      return { changed: 0, ended };
    },
  };
}

const pageOf = ({ after, limit }: ConnectionSearch) => ({ after, limit });

function isMeant(connection: Connection, { sub, address, collection }: ConnectionSearch): boolean {
  if (sub !== undefined && connection.identity?.sub !== sub) return false;
  if (address !== undefined && connection.address !== address) return false;
  if (collection === undefined) return true;
  for (const { request } of connection.subscriptions) if (request.collection === collection) return true;
  return false;
}

function detailOf(connection: Connection, row: ConnectionRow, names: NodeNames): ConnectionDetail {
  const list = [...connection.subscriptions].slice(0, SUBSCRIPTIONS_MAX);
  return {
    ...row,
    tokenExpiresAtMs: connection.login.expiresAtMs,
    list: list.map((subscription) => subscriptionRowOf(subscription, names)),
  };
}

function subscriptionRowOf(subscription: Subscription, names: NodeNames): SubscriptionRow {
  const { id, request, attachment, query } = subscription;
  const { delivery } = attachment;
  const isDeciding = attachment.isUndecided(id) || !attachment.serves(id);
  return {
    id,
    collection: request.collection,
    rule: query.rule,
    liveQuery: `${names.id}.${delivery.liveQuery.number}`,
    state: isDeciding ? "deciding" : delivery.phase,
    lagCommits: delivery.lagCommits,
  };
}

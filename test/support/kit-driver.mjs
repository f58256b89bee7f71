/**
 * The driver of the protocol kit for the client of this package, out of `dist/` (docs/protocol-kit/README.md, "The
 * driver").
 */
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { createClient } from "../../dist/client/client.js";

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** By the number of the client: it, its queries by their names, and what waits for a token. */
const clients = new Map();

function open(n, { url, token, values }) {
  const waiting = [];
  let isFirst = true;
  const nextToken = () => {
    if (isFirst) {
      isFirst = false;
      return token;
    }
    print({ n, wants: "token" });
    return new Promise((resolve) => waiting.push(resolve));
  };
  const client = createClient({
    url,
    ...(token === null ? {} : { token: nextToken }),
    values,
    WebSocket,
    transports: ["ws"],
    lingerMs: 0,
    logger: false,
  });
  clients.set(n, { client, waiting, queries: new Map() });
}

function queryOf(client, { collection, filter, fields, sort, limit, aggregate, ...rest }) {
  let query = client.collection(collection).find(filter ?? {}, rest);
  if (aggregate !== undefined) {
    const { by = [], values } = aggregate;
    const groups = query.groupBy(...[by].flat());
    return values === undefined ? groups : groups.values(values);
  }
  if (fields !== undefined) query = query.fields(...fields);
  for (const [path, direction] of sort ?? []) query = query.sort(path, direction);
  return limit === undefined ? query : query.limit(limit);
}

function follow(n, q, { request, ...options }) {
  if (!clients.has(n)) open(n, options);
  const { client, queries } = clients.get(n);
  const query = queryOf(client, request);
  const leave = query.subscribe({
    change({ type, docs, doc, _id }) {
      print({ n, q, change: { type, docs, doc, _id } });
    },
    status: (status) => print({ n, q, status }),
    error(error) {
      if (query.getState().status === "stopped") print({ n, q, stopped: { code: error.code } });
    },
  });
  queries.set(q, { query, leave });
}

async function fence(n, q, ask, operationTime) {
  const { client, queries } = clients.get(n);
  try {
    await client.fence(operationTime);
    print({ n, q, answer: ask, documents: queries.get(q).query.getState().data });
  } catch (error) {
    print({ n, q, answer: ask, failure: String(error) });
  }
}

createInterface({ input: process.stdin }).on("line", (text) => {
  const { n, q, follow: request, ask, fence: time, token, leave } = JSON.parse(text);
  const known = clients.get(n);
  if (request !== undefined) follow(n, q, request);
  else if (time !== undefined) void fence(n, q, ask, time);
  else if (token !== undefined) known.waiting.shift()?.(token);
  else if (leave && q !== undefined) known.queries.get(q).leave();
  else if (leave) known.client.close();
});

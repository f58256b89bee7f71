/**
 * The driver of the protocol kit for the client of this package, out of `dist/` (docs/protocol-kit/README.md, "The
 * driver"). The name of a defect as the first argument makes the client wrong on purpose (`kit-defects.mjs`).
 */
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { createClient } from "../../dist/client/client.js";
import { DEFECTS } from "./kit-defects.mjs";
import { socketWith } from "./wrong-client.mjs";

const [name] = process.argv.slice(2);
/** Returns the changes of the defect for another client; undefined for the client as it is. */
const makeDefect = name === undefined ? () => undefined : DEFECTS.find(({ defect }) => defect === name).make;

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** By the number of the client: it, its queries by their names, and what waits for a token. */
const clients = new Map();

function open(n, { url, token, values }) {
  const defect = makeDefect();
  const waiting = [];
  let isFirst = true;
  const nextToken = () => {
    if (isFirst || defect?.keepsToken) {
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
    WebSocket: defect === undefined ? WebSocket : socketWith(defect),
    transports: ["ws"],
    lingerMs: 0,
    logger: false,
    ...defect?.options,
  });
  clients.set(n, { client, waiting, queries: new Map(), defect });
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
  const { client, queries, defect } = clients.get(n);
  const query = queryOf(client, request);
  /** The documents that the application shows. */
  let shown = [];
  const leave = query.subscribe({
    data(docs) {
      if (docs.length > 0 || !defect?.keepsShowing) shown = docs;
    },
    change({ type, docs, doc, _id }) {
      print({ n, q, change: { type, docs, doc, _id } });
    },
    status(status) {
      if (defect?.reports?.(status) ?? true) print({ n, q, status });
    },
    error(error) {
      const { status } = query.getState();
      if (status === "stopped") print({ n, q, stopped: { code: error.code }, documents: shown });
    },
  });
  queries.set(q, { query, leave });
}

async function fence(n, q, ask, operationTime) {
  const { client, queries, defect } = clients.get(n);
  try {
    const passed = client.fence(operationTime);
    if (defect?.answersAtOnce)
      passed.catch(() => {}); // nothing waits for it
    else await passed;
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

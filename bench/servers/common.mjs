/** Shared code of the small servers that Tidewire is measured against. */
import { createServer } from "node:http";
import { MongoClient, WebSocketServer } from "../lib/product.mjs";
import { options } from "../lib/serve.mjs";

/** As long as a cursor of Tidewire. */
const CURSOR = "c".repeat(27);

/** A change as Tidewire writes it, so that all send the same bytes. */
export const changeText = (doc) =>
  JSON.stringify({ type: "added", query: 1, cursor: CURSOR, cause: "insert", doc });

export const SUBSCRIBED = JSON.stringify({ type: "subscribed" });

/** Listens for WebSockets; `onSubscribe` gets each one with what it asked for. @returns The port. */
export async function listen(onSubscribe, perMessageDeflate = false, server = createServer()) {
  const sockets = new WebSocketServer({ server, perMessageDeflate });
  sockets.on("connection", (socket) => {
    socket.once("message", (data) => onSubscribe(socket, JSON.parse(String(data))));
    socket.on("error", () => {});
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

export const client = new MongoClient(options.uri ?? "mongodb://127.0.0.1", { maxPoolSize: 1_000 });

export const collection = () => client.db(options.database).collection(options.collection);

/** From this moment a stream misses nothing, however late it is opened. */
export async function now() {
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  return operationTime;
}

/** Inserted documents of one change stream from `startAtOperationTime` on, as the driver decodes them. */
export function watch(onDocument, startAtOperationTime, pipeline = []) {
  const stream = collection().watch(pipeline, { startAtOperationTime });
  stream.on("change", ({ fullDocument }) => onDocument(fullDocument));
}

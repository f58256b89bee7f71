/** Socket.IO rooms behind one stream. */
import { createServer } from "node:http";
import { Server } from "socket.io";
import { serve } from "../lib/serve.mjs";
import { client, now, watch } from "./common.mjs";

const CURSOR = "c".repeat(27);
const server = createServer();
const io = new Server(server, { transports: ["websocket"] });
const roomOf = ({ room }) => `room:${room}`;

io.on("connection", (socket) => {
  socket.on("join", async (filter, joined) => {
    await socket.join(roomOf(filter));
    joined();
  });
});

await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
await client.connect();
watch(
  (doc) => {
    io.to(roomOf(doc)).emit("change", { type: "added", query: 1, cursor: CURSOR, cause: "insert", doc });
  },
  await now(),
);

serve({ ready: () => ({ port: server.address().port }) });

// The clients of bench/workers.mjs, a process of their own: they subscribe, and count the changes that come.
import { WebSocket } from "ws";

/** Connections that are opened at the same time. */
const AT_ONCE = 20;

const sockets = [];
let changes = 0;

function connect(url, token, filters) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, ["tidewire.v1"]);
    let waiting = filters.length;
    let isUp = false;
    socket.on("error", reject);
    socket.on("open", () => socket.send(JSON.stringify({ type: "hello", token })));
    socket.on("message", (data) => {
      if (isUp) {
        // No JSON is read here: the clients share the machine's cores with the service.
        if (data.includes('"type":"changed"')) changes++;
        return;
      }
      const { type } = JSON.parse(data);
      if (type === "welcome") {
        for (const [id, filter] of filters.entries()) {
          const request = { id: `q${id}`, collection: "items", filter, snapshot: false };
          socket.send(JSON.stringify({ type: "subscribe", ...request }));
        }
      } else if (type === "subscribed" && --waiting === 0) {
        isUp = true;
        sockets.push(socket);
        resolve();
      } else if (type === "error") reject(new Error(String(data)));
    });
  });
}

process.on("message", async ({ ask, ...about }) => {
  if (ask === "connect") {
    const { url, token, filters } = about;
    while (filters.length > 0) {
      await Promise.all(filters.splice(0, AT_ONCE).map((own) => connect(url, token, own)));
    }
  }
  if (ask === "leave") for (const socket of sockets.splice(0)) socket.terminate();
  process.send({ changes });
});

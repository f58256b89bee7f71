/** Clients of `rules.mjs`, in a process of their own: each keeps five subscriptions. */

import { WebSocket } from "./lib/product.mjs";
import { claimsOf, collectionNames } from "./lib/rule-sets.mjs";
import { options, serve } from "./lib/serve.mjs";
import { tokenFor } from "./lib/tokens.mjs";

const AT_ONCE = 50;
const STATUSES = ["open", "late", "paid", "sent"];
const sockets = [];
let lost = 0;

/** Subscribes `options.kept` times and stays, after as many other requests of which only a record remains. */
function connect(n) {
  const { sub, ...claims } = claimsOf(n);
  const requests = Array.from({ length: options.kept + options.recorded }, (_, i) => ({
    id: String(i),
    collection: collectionNames[(n * 7 + i) % collectionNames.length],
    filter: { status: STATUSES[(n + i) % STATUSES.length] },
    snapshot: false,
  }));
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${options.port}/v1/ws`, ["tidewire.v1"]);
    const send = (message) => socket.send(JSON.stringify(message));
    let waiting = requests.length;
    socket.on("error", reject);
    socket.on("open", () => {
      send({ type: "hello", token: tokenFor(sub, claims) });
      for (const request of requests) send({ type: "subscribe", ...request });
    });
    socket.on("close", (code) => {
      lost++;
      reject(new Error(`the connection of ${sub} was closed: ${code}`));
    });
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.type === "error") return reject(new Error(`${sub}: ${data}`));
      if (message.type !== "subscribed") return;
      if (Number(message.id) >= options.kept) send({ type: "unsubscribe", id: message.id });
      if (--waiting === 0) resolve(sockets.push(socket));
    });
  });
}

serve({
  ready: () => {},
  /** Connects users, of whom the first has this number. */
  async open({ from, count }) {
    for (let n = from; n < from + count; n += AT_ONCE)
      await Promise.all(
        Array.from({ length: Math.min(AT_ONCE, from + count - n) }, (_, i) => connect(n + i)),
      );
    return sockets.length;
  },
  lost: () => lost,
});

/**
 * How each contender is spoken to: the same subscription in each one's own words. `client` has `send(text)`, `ready()`,
 * the `filter` and `token` that it was made with, and where it `start`s.
 */

const byteOf = (char) => char.charCodeAt(0);
const A = byteOf("a");
const C = byteOf("c");
const N = byteOf("n");
const S = byteOf("s");

const subscribeOf = ({ filter, start, snapshot = false, aggregate }) =>
  JSON.stringify({ type: "subscribe", id: "1", collection: "docs", filter, snapshot, aggregate, ...start });

const tidewire = {
  path: "/v1/ws",
  protocol: "tidewire.v1",
  /** `{"type":"added"`, `{"type":"changed"` or `{"type":"snapshot"`; `{"type":"subscribed"` begins with `su`. */
  isChange: (bytes, at) =>
    bytes[at + 9] === A || bytes[at + 9] === C || (bytes[at + 9] === S && bytes[at + 10] === N),
  /** In one round trip, as the SDK does; a patient client waits for the answer to `hello`. */
  onOpen(client) {
    client.send(JSON.stringify({ type: "hello", token: client.token }));
    if (!client.isPatient) client.send(subscribeOf(client));
  },
  onText(client, text) {
    const message = JSON.parse(text);
    if (message.type === "welcome") {
      if (client.isPatient) client.send(subscribeOf(client));
    } else if (message.type === "subscribed") {
      const { cursor, ticket } = message;
      client.ready({ cursor, ticket }, message.start);
    } else if (message.type === "error") throw new Error(text);
  },
};

/** Our own small servers: the filter goes up, changes as Tidewire writes them come down. */
const plain = {
  path: "/",
  isChange: (bytes, at) => bytes[at + 9] === A,
  onOpen(client) {
    client.send(JSON.stringify({ filter: client.filter, isBack: client.isBack }));
  },
  onText(client) {
    client.ready();
  },
};

/** Engine.IO 4 and Socket.IO 5, over WebSocket alone. */
const socketIo = {
  path: "/socket.io/?EIO=4&transport=websocket",
  /** `42["change",`. */
  isChange: (bytes, at) => bytes[at] === byteOf("4") && bytes[at + 1] === byteOf("2"),
  onOpen() {},
  onText(client, text) {
    if (text.startsWith("0")) client.send("40");
    else if (text.startsWith("40")) client.send(`420["join",${JSON.stringify(client.filter)}]`);
    else if (text.startsWith("43")) client.ready();
    else if (text === "2") client.send("3");
  },
};

/** Parse LiveQuery. */
const parse = {
  path: "/",
  /** `{"op":"create"`; `{"op":"connected"` begins with `co`. */
  isChange: (bytes, at) => bytes[at + 7] === byteOf("c") && bytes[at + 8] === byteOf("r"),
  onOpen(client) {
    client.send(JSON.stringify({ op: "connect", applicationId: "bench" }));
  },
  onText(client, text) {
    const { op } = JSON.parse(text);
    if (op === "connected") {
      const query = { className: "Doc", where: client.filter };
      client.send(JSON.stringify({ op: "subscribe", requestId: 1, query }));
    } else if (op === "subscribed") client.ready();
    else if (op === "error") throw new Error(text);
  },
};

export const DIALECTS = { tidewire, plain, socketIo, parse };

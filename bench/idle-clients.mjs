/** Clients of bench/idle.mjs: each has one subscription, and counts changes that it missed or received twice. */
import { setTimeout as sleep } from "node:timers/promises";
import { DIALECTS } from "./lib/dialects.mjs";
import { RawSocket } from "./lib/raw-socket.mjs";
import { clockMs, options, serve } from "./lib/serve.mjs";
import { tokenFor } from "./lib/tokens.mjs";

const { path, protocol, isChange } = DIALECTS.tidewire;
const AT_ONCE = 100;
const RETRIES_MAX = 20;
/** The sockets of a process are spread over addresses, because each address has some 28,000 ports. */
const PER_ADDRESS = 5_000;

const clients = [];
const totals = { lost: 0, twice: 0, cut: 0, retries: 0, starts: {}, reasons: {} };

class Client {
  /** The number of the last change. */
  n = 0;
  isDropped = true;
  #room;
  #token;
  #localAddress;
  #position = {};
  #socket;
  #settle = () => {};
  /** The number that settles a connection. */
  #wanted = 0;

  constructor(index, room, localAddress) {
    this.#room = room;
    this.#token = tokenFor(`u${index}`);
    this.#localAddress = localAddress;
  }

  /** Connects and subscribes, again if the connection fails. Settles when change `wanted` has arrived. */
  async open(wanted) {
    for (let retries = 0; ; retries++) {
      if (await this.#try(wanted)) return;
      totals.retries++;
      if (retries === RETRIES_MAX) throw new Error("a client could not connect");
      await sleep(Math.random() * 1_000);
    }
  }

  drop() {
    this.isDropped = true;
    this.#socket.drop();
  }

  #try(wanted) {
    return new Promise((resolve, reject) => {
      this.isDropped = false;
      this.#wanted = wanted;
      let isSubscribed = false;
      let reason = "before the upgrade";
      this.#settle = () => {
        if (isSubscribed && this.n >= this.#wanted) resolve(true);
      };
      const socket = new RawSocket(
        { port: options.port, path, protocol, localAddress: this.#localAddress },
        {
          wantsWhole: true,
          isChange,
          onChange: (bytes, start, end) => this.#take(JSON.parse(bytes.toString("utf8", start, end))),
          onCloseFrame: (code) => {
            reason = `code ${code}`;
          },
          onOpen: () => {
            reason = "after the upgrade";
            this.#send({ type: "hello", token: this.#token });
            const filter = { room: this.#room };
            const request = { id: "1", collection: "docs", filter, snapshot: false, ...this.#position };
            this.#send({ type: "subscribe", ...request });
          },
          onText: (text) => {
            const message = JSON.parse(text);
            if (message.type === "error") return reject(new Error(text));
            if (typeof message.cursor === "string") this.#position.cursor = message.cursor;
            if (message.type !== "subscribed") return;
            const { cursor, ticket, start } = message;
            this.#position = { cursor, ticket };
            totals.starts[start] = (totals.starts[start] ?? 0) + 1;
            isSubscribed = true;
            this.#settle();
          },
          onRefused: (text) => reject(new Error(`refused: ${text}`)),
          onClose: () => {
            if (this.#socket !== socket || this.isDropped) return;
            if (isSubscribed) totals.cut++;
            totals.reasons[reason] = (totals.reasons[reason] ?? 0) + 1;
            resolve(false);
          },
        },
      );
      this.#socket = socket;
    });
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #take({ cursor, doc }) {
    if (cursor !== undefined) this.#position.cursor = cursor;
    if (doc.n <= this.n) totals.twice++;
    else totals.lost += doc.n - this.n - 1;
    this.n = Math.max(this.n, doc.n);
    this.#settle();
  }
}

let cut = [];

serve({
  ready: () => {},

  async open({ from, count, liveQueries }) {
    for (let i = 0; i < count; i++) {
      const localAddress = `127.0.0.${2 + Math.floor((from + i) / PER_ADDRESS)}`;
      clients.push(new Client(from + i, (from + i) % liveQueries, localAddress));
    }
    for (let at = 0; at < count; at += AT_ONCE)
      await Promise.all(clients.slice(at, at + AT_ONCE).map((client) => client.open(0)));
  },

  /** Cuts so many, spread over all live queries. */
  cut({ count }) {
    cut = clients.slice(0, count);
    for (const client of cut) client.drop();
  },

  /**
   * Lets those come back that were cut, within so long.
   * @returns How long each took until change `wanted` had arrived, in milliseconds.
   */
  async comeBack({ withinMs, wanted }) {
    return Promise.all(
      cut.map(async (client) => {
        await sleep(Math.random() * withinMs);
        const startedMs = clockMs();
        await client.open(wanted);
        return clockMs() - startedMs;
      }),
    );
  },

  /** How many clients that are connected have not received change `n`. */
  behind: ({ n }) => clients.filter((client) => !client.isDropped && client.n < n).length,

  totals: () => totals,
});

/** Attacks of a hostile user on a node, each at the bound of a limit. */
import { WebSocket } from "ws";
import { signToken } from "../support/service.ts";

/** One attack: it begins by `start`, and goes on until the signal aborts. */
export interface Attack {
  readonly name: string;
  readonly start: (attacker: Attacker) => Promise<void>;
}

/** A connection that says much and keeps nothing of what it hears, so that the test itself has time to measure. */
class HostileSocket {
  readonly #socket: WebSocket;
  readonly #byId = new Map<string, (answer: Record<string, unknown>) => void>();
  /** The last cursor and ticket that were received. */
  position: { cursor: unknown; ticket: unknown } | null = null;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer) => {
      // Changes are most of what comes: they are not even parsed.
      const head = data.toString("latin1", 0, 40);
      if (!/"type":"(subscribed|error)"/.test(head)) return;
      const message = JSON.parse(data.toString()) as Record<string, unknown>; // an object, as every message is
      if (message["type"] === "subscribed")
        this.position = { cursor: message["cursor"], ticket: message["ticket"] };
      const id = String(message["id"]);
      this.#byId.get(id)?.(message);
      this.#byId.delete(id);
    });
    socket.on("error", () => {});
  }

  static async open(url: string, token: string): Promise<HostileSocket> {
    const socket = new WebSocket(url, ["tidewire.v1"], { headers: { authorization: `Bearer ${token}` } });
    const hostile = new HostileSocket(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("message", () => resolve());
      socket.once("close", (code) => reject(new Error(`closed with ${code}`)));
    });
    return hostile;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  send(message: object): void {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  /** Settles with the answer, or with nothing after a while. */
  subscribe(id: string, request: object): Promise<Record<string, unknown> | null> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), 5_000);
      this.#byId.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.send({ type: "subscribe", id, collection: "things", ...request });
    });
  }

  /** Reads nothing any more. */
  stall(): void {
    this.#socket.pause();
  }

  terminate(): void {
    this.#socket.terminate();
  }
}

/** Everything that one attack opened. */
export class Attacker {
  readonly url: string;
  readonly signal: AbortSignal;
  readonly #sockets: HostileSocket[] = [];
  readonly #silent: WebSocket[] = [];

  constructor(url: string, signal: AbortSignal) {
    this.url = url;
    this.signal = signal;
  }

  async open(claims: Record<string, unknown> = {}): Promise<HostileSocket> {
    const socket = await HostileSocket.open(this.url, await this.token(claims));
    this.#sockets.push(socket);
    return socket;
  }

  token(claims: Record<string, unknown> = {}): Promise<string> {
    return signToken({ sub: "attacker", ...claims });
  }

  /** A socket that says nothing at all. */
  openSilent(): void {
    const socket = new WebSocket(this.url, ["tidewire.v1"]);
    socket.on("error", () => {});
    this.#silent.push(socket);
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.signal.addEventListener("abort", done);
    });
  }

  /** Does something again and again, as often as the rate limits let it. */
  async repeat(everyMs: number, work: () => unknown): Promise<void> {
    while (!this.signal.aborted) {
      await work();
      await this.pause(everyMs);
    }
  }

  end(): void {
    for (const socket of [...this.#sockets, ...this.#silent]) socket.terminate();
  }
}

const range = <T>(count: number, each: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => each(n));

/** Subscribes as often as one connection may, and follows what comes. */
async function subscribeMany(
  attacker: Attacker,
  count: number,
  request: (n: number) => object,
): Promise<void> {
  const socket = await attacker.open();
  for (let n = 0; n < count && !attacker.signal.aborted; n++) {
    socket.send({ type: "subscribe", id: `${n}`, collection: "things", ...request(n) });
    if (n % 40 === 39) await attacker.pause(1_000);
  }
  await attacker.repeat(1_000, () => {});
}

const CHANGES_ONLY = { snapshot: false };

export const ATTACKS: readonly Attack[] = [
  {
    name: "refreshes its token as often as it may, with large filters to be judged again",
    start: async (attacker) => {
      const socket = await attacker.open({ rank: 0 });
      for (let n = 0; n < 60; n++) {
        const filter = { n: { $in: range(900, (value) => value * 100 + n) } };
        socket.send({ type: "subscribe", id: `${n}`, collection: "things", filter, ...CHANGES_ONLY });
        if (n % 10 === 9) await attacker.pause(1_000);
      }
      let rank = 0;
      await attacker.repeat(25, async () => {
        socket.send({ type: "refresh", token: await attacker.token({ rank: rank++ }) });
      });
    },
  },
  {
    name: "asks for many fields by long paths",
    start: (attacker) =>
      subscribeMany(attacker, 100, (n) => ({
        filter: { kind: "hot" },
        fields: range(40, (part) => `f${n}.${range(8, (depth) => `p${part}${depth}`).join(".")}`),
      })),
  },
  {
    name: "sorts without a limit by a long field",
    start: (attacker) =>
      subscribeMany(attacker, 60, (n) => ({ filter: { n: { $gte: -n } }, sort: [["text", 1]] })),
  },
  {
    name: "leaves live queries behind",
    start: async (attacker) => {
      const sockets = await Promise.all(range(4, () => attacker.open()));
      let n = 0;
      await attacker.repeat(50, () => {
        for (const socket of sockets) {
          const id = `${n++}`;
          socket.send({
            type: "subscribe",
            id,
            collection: "things",
            filter: { n: { $ne: n } },
            ...CHANGES_ONLY,
          });
          socket.send({ type: "unsubscribe", id });
        }
      });
    },
  },
  {
    name: "follows a path through nested arrays whose objects have numbers as keys",
    start: (attacker) =>
      subscribeMany(attacker, 100, (n) => ({
        filter: { [`nest.${range(30, () => "0").join(".")}`]: { $ne: n } },
        ...CHANGES_ONLY,
      })),
  },
  {
    name: "asks for lists of hundreds of values",
    start: (attacker) =>
      subscribeMany(attacker, 100, (n) => ({
        filter: {
          tags: { $nin: range(450, (value) => `no ${value}`) },
          list: { $nin: range(450, (value) => value + n) },
        },
        ...CHANGES_ONLY,
      })),
  },
  {
    name: "follows many live queries that are expensive to match",
    start: async (attacker) => {
      await Promise.all(
        range(3, (connection) =>
          subscribeMany(attacker, 100, (n) => ({
            filter: {
              $nor: range(5, (part) => ({
                list: { $elemMatch: { a: { $gt: 10_000 + n }, b: { $ne: `${connection} ${part}` } } },
              })),
            },
            ...CHANGES_ONLY,
          })),
        ),
      );
    },
  },
  {
    name: "follows what a rule's regular expression decides, over long strings",
    start: (attacker) =>
      subscribeMany(attacker, 100, (n) => ({
        collection: "texts",
        filter: { n: { $ne: n } },
        ...CHANGES_ONLY,
      })),
  },
  {
    name: "opens sockets and says nothing",
    start: async (attacker) => {
      await attacker.repeat(500, () => {
        for (let n = 0; n < 50; n++) attacker.openSilent();
      });
    },
  },
  {
    name: "reads snapshots that no index serves",
    start: async (attacker) => {
      const sockets = await Promise.all(range(4, () => attacker.open()));
      let n = 0;
      await attacker.repeat(100, () => {
        for (const socket of sockets) {
          const id = `${n++}`;
          socket.send({
            type: "subscribe",
            id,
            collection: "things",
            filter: { text: { $regex: `^${n}x` }, m: { $ne: n } },
          });
          socket.send({ type: "unsubscribe", id: `${n - 40}` });
        }
      });
    },
  },
  {
    name: "comes back with an old cursor, over and over, for filters that are expensive to match",
    start: async (attacker) => {
      const socket = await attacker.open();
      let n = 0;
      const filter = { $nor: [{ list: { $elemMatch: { a: { $gt: 1e6 }, b: { $ne: "x" } } } }] };
      const first = await socket.subscribe("first", { filter, ...CHANGES_ONLY });
      if (first === null) return;
      const { cursor, ticket } = first;
      await attacker.repeat(50, () => {
        const id = `again ${n++}`;
        socket.send({ type: "subscribe", id, collection: "things", filter, cursor, ticket, ...CHANGES_ONLY });
        socket.send({ type: "unsubscribe", id });
      });
    },
  },
  {
    name: "follows everything and reads nothing",
    start: async (attacker) => {
      for (const socket of await Promise.all(range(20, () => attacker.open()))) {
        for (let n = 0; n < 20; n++) {
          socket.send({ type: "subscribe", id: `${n}`, collection: "things", filter: { n: { $gte: -n } } });
        }
        socket.stall();
      }
      await attacker.repeat(1_000, () => {});
    },
  },
];

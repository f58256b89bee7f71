/** Clients that follow one query by the simplest means their transport has, break off as often as they must, and come back. */
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished } from "vitest";
import type { ServerMessage } from "../../src/protocol/messages.ts";
import { HeldQuery } from "./held-query.ts";
import { ask, type PollAnswer, SseClient, type SseEvent, urlOf } from "./http-client.ts";
import { differencesOf, type Oracle, type OracleQuery } from "./oracle.ts";
import { SocketIoClient } from "./socketio-client.ts";
import { WsClient } from "./ws-client.ts";

const PATIENCE = { timeout: 60_000, interval: 20 };
/** Between two attempts, in milliseconds. */
const RETRY_MS = 20;
/** Longer than any test. */
const FOR_EVER_MS = 3_600_000;

export interface FollowOptions {
  readonly oracle: Oracle;
  /** `http://` or `https://`, host and port. */
  readonly base: string;
  readonly collection: string;
  readonly token: string;
  /** Whom to trust, for TLS. */
  readonly ca?: string;
}

/** A client's handling of messages, for every transport. */
export class MessageFollower {
  readonly held: HeldQuery;
  readonly starts: string[] = [];
  readonly faults: string[] = [];
  readonly #oracle: Oracle;
  #ticket = "";
  /** Of the connection at hand: until then its watermarks say nothing of what is held. */
  #isSubscribed = false;

  constructor(oracle: Oracle) {
    this.#oracle = oracle;
    this.held = new HeldQuery("json", (cursor) => oracle.decode(cursor));
  }

  /** The fields of a resumption; empty while the result is incomplete. */
  get place(): { cursor?: string; ticket?: string } {
    const { phase, cursor } = this.held;
    return phase === "following" ? { cursor, ticket: this.#ticket } : {};
  }

  start(start: string): void {
    this.starts.push(start);
    this.#isSubscribed = true;
    if (start === "resumed") this.held.disconnected();
    else this.held.expectSnapshot();
  }

  take(message: ServerMessage): void {
    if (message.type === "subscribed" || message.type === "reset") this.#ticket = message.ticket;
    try {
      if (message.type === "welcome") this.#isSubscribed = false;
      else if (message.type === "watermark" && !this.#isSubscribed) return;
      else if (message.type === "subscribed") this.start(message.start);
      else if (message.type === "reset") this.held.expectSnapshot();
      else this.held.take(message);
    } catch (error) {
      this.faults.push(`${error}: ${JSON.stringify(message).slice(0, 200)}`);
    }
  }

  /** Waits until all that was written up to now has come, and compares with what `find` gives at the cursor. */
  async equalsFind(query: OracleQuery, operationTime: bigint): Promise<void> {
    const { held } = this;
    const isThere = () => held.cursor !== "" && this.#oracle.decode(held.cursor).clusterTime >= operationTime;
    await expect.poll(isThere, PATIENCE).toBe(true);
    const found = await this.#oracle.find(query, held.cursor, held.mode);
    expect(differencesOf(held.documents, found ?? new Map())).toEqual([]);
    expect(this.faults).toEqual([]);
  }
}

/** Starts again whenever the previous attempt has ended, until the test ends. */
function keepTrying(attempt: () => Promise<unknown>): void {
  let stopped = false;
  onTestFinished(() => {
    stopped = true;
  });
  const run = async () => {
    while (!stopped) {
      await attempt().catch(() => {}); // not reachable just now, or cut off
      await pause(RETRY_MS);
    }
  };
  void run();
}

export function followByWebSocket({ oracle, base, collection, token, ca }: FollowOptions): MessageFollower {
  const follower = new MessageFollower(oracle);
  let client: WsClient | undefined;
  onTestFinished(() => client?.socket.terminate());
  keepTrying(async () => {
    client = await WsClient.connect(`${base.replace("http", "ws")}/v1/ws`, {
      token,
      ...(ca === undefined ? {} : { ca }),
    });
    const { socket } = client;
    client.onMessage = (message) => {
      follower.take(message);
      // Not made just now: a node that has just started says so.
      if (message.type === "error") socket.terminate();
    };
    client.send({ type: "subscribe", id: "1", collection, ...follower.place });
    await client.untilClosed(FOR_EVER_MS);
  });
  return follower;
}

export function followBySse({ oracle, base, collection, token, ca }: FollowOptions): MessageFollower {
  const follower = new MessageFollower(oracle);
  let lastEventId = "";
  let stream: SseClient | undefined;
  onTestFinished(() => stream?.cut());
  keepTrying(async () => {
    const headers = {
      Authorization: `Bearer ${token}`,
      ...(lastEventId === "" ? {} : { "Last-Event-ID": lastEventId }),
    };
    stream = await SseClient.stream(urlOf(base, "/v1/sse", { collection }), headers, ca);
    const take = ({ data, id }: SseEvent) => {
      follower.take(data);
      lastEventId = id ?? lastEventId;
    };
    stream.events.forEach(take);
    stream.onEvent = take;
    await stream.untilEnded(FOR_EVER_MS);
  });
  return follower;
}

export function followByPolls({ oracle, base, collection, token, ca }: FollowOptions): MessageFollower {
  const follower = new MessageFollower(oracle);
  let place = {};
  keepTrying(async () => {
    for (;;) {
      const url = urlOf(base, "/v1/poll", { collection, wait: 1, ...place });
      const { status, text } = await ask("GET", url, { Authorization: `Bearer ${token}` }, ca);
      if (status !== 200) throw new Error(text);
      // An answer that was cut off is none: it does not parse.
      const { start, messages, cursor, ticket } = JSON.parse(text) as PollAnswer;
      follower.start(start);
      for (const message of messages) follower.take(message);
      follower.take({ type: "watermark", cursor });
      place = { cursor, ticket };
    }
  });
  return follower;
}

/** The library comes back by itself; what to do then is the application's. */
export function followBySocketIo({ oracle, base, collection, token, ca }: FollowOptions): MessageFollower {
  const follower = new MessageFollower(oracle);
  const client = new SocketIoClient(base, {
    auth: { token },
    reconnectionDelay: RETRY_MS,
    reconnectionDelayMax: 5 * RETRY_MS,
    ...(ca === undefined ? {} : { ca }),
  });
  onTestFinished(() => client.close());
  client.onMessage = (message) => follower.take(message);
  const subscribe = () => {
    client.socket.emit("subscribe", { id: "1", collection, ...follower.place }, (answer: ServerMessage) => {
      // Not made just now: a node that has just started says so. After another break `connect` sees to it.
      const again = () => client.socket.connected && subscribe();
      if (answer.type === "error" && answer.retry !== "never") setTimeout(again, RETRY_MS);
    });
  };
  client.socket.on("connect", subscribe);
  return follower;
}

import { setTimeout as sleep } from "node:timers/promises";
import type { Timestamp } from "mongodb";
import {
  type Answer,
  ask,
  type Parameters,
  type PollAnswer,
  SseClient,
  urlOf,
} from "../support/http-client.ts";
import { Oracle } from "../support/oracle.ts";
import { signToken } from "../support/service.ts";
import type { Received } from "../support/ws-client.ts";
import type { Claims, Driver, Reader, ReaderOptions, Request } from "./scenario.ts";
import type { SharedService } from "./shared-service.ts";

type Now = () => Promise<Timestamp>;
const TIMEOUT_MS = 60_000;
const OF_THE_CONNECTION = new Set(["welcome", "watermark"]);

const headersFor = async (claims: Claims): Promise<Record<string, string>> =>
  claims === null ? {} : { Authorization: `Bearer ${await signToken(claims)}` };

function parametersOf({ fields, ...request }: Request, { values }: ReaderOptions): Parameters {
  return { ...request, values, fields: fields?.join(",") };
}

/** The error as a WebSocket would have brought it. */
const errorOf = ({ body }: Answer) => body as unknown as Received;

/** The subscriptions that were refused before they began. */
function refusedReader(answer: Answer): Reader {
  const error = errorOf(answer);
  return {
    received: [error],
    answer: error,
    get place(): never {
      throw new Error(`refused: ${answer.text}`);
    },
    until: () => Promise.reject(new Error(`refused: ${answer.text}`)),
    settle: async () => {},
    leave: async () => {},
  };
}

/** A stream cannot be asked whether all has come; it says so by its watermarks, one each heartbeat. */
class SseReader implements Reader {
  readonly answer: Received;
  readonly #stream: SseClient;
  readonly #oracle: Oracle;
  readonly #now: Now;

  constructor(stream: SseClient, answer: Received, oracle: Oracle, now: Now) {
    this.#stream = stream;
    this.answer = answer;
    this.#oracle = oracle;
    this.#now = now;
  }

  get received(): readonly Received[] {
    return this.#stream.messages.filter(({ type }) => !OF_THE_CONNECTION.has(type));
  }

  get place(): { cursor: string; ticket: string } {
    const [, ticket = "", cursor = ""] = this.#stream.lastEventId.split(".");
    return { cursor, ticket };
  }

  async until(fits: (message: Received) => boolean): Promise<Received> {
    const event = await this.#stream.until(({ data }) => fits(data));
    if (event === undefined) throw new Error(`the stream is ${this.#stream.ended}`);
    return event.data;
  }

  async settle(): Promise<void> {
    await this.#oracle.learnEpoch();
    const time = (await this.#now()).toBigInt();
    await this.#stream.until(({ type, data }) => {
      return type === "watermark" && this.#oracle.decode(String(data["cursor"])).clusterTime >= time;
    });
  }

  async leave(): Promise<void> {
    this.#stream.cut();
  }
}

/** Polls whenever somebody wants to know, as if the answers were one stream. */
class PollReader implements Reader {
  readonly received: Received[] = [];
  readonly #poll: (parameters: Parameters) => Promise<Answer>;
  readonly #oracle: Oracle;
  readonly #now: Now;
  #place = { cursor: "", ticket: "" };

  constructor(poll: (parameters: Parameters) => Promise<Answer>, oracle: Oracle, now: Now) {
    this.#poll = poll;
    this.#oracle = oracle;
    this.#now = now;
  }

  get answer(): Received {
    const [first] = this.received;
    if (first === undefined) throw new Error("not asked yet");
    return first;
  }

  /** Any ticket since the beginning is good; that of the beginning is good for all cursors since. */
  get place(): { cursor: string; ticket: string } {
    const beginning = this.received.findLast(({ type }) => type === "subscribed");
    return { cursor: this.#place.cursor, ticket: String(beginning?.["ticket"]) };
  }

  /** @returns Whether the subscription stands. */
  async next(waitS: number): Promise<boolean> {
    const { cursor, ticket } = this.#place;
    const answer = await this.#poll({ wait: waitS, ...(cursor === "" ? {} : { cursor, ticket }) });
    if (answer.status !== 200) {
      this.received.push(errorOf(answer));
      return false;
    }
    const { messages, ...rest }: PollAnswer = JSON.parse(answer.text);
    // Consecutive polls are one subscription, unless the service had to start it again.
    if (cursor === "" || rest.start !== "resumed") {
      this.received.push({ type: "subscribed", ...rest } as unknown as Received);
    }
    this.received.push(...(messages as Received[]));
    this.#place = { cursor: rest.cursor, ticket: rest.ticket };
    return true;
  }

  async until(fits: (message: Received) => boolean): Promise<Received> {
    const deadlineMs = Date.now() + TIMEOUT_MS;
    for (let from = 0; Date.now() < deadlineMs; ) {
      for (; from < this.received.length; from++) {
        const message = this.received[from];
        if (message !== undefined && fits(message)) return message;
      }
      if (!(await this.next(1))) break;
    }
    throw new Error(`nothing fit; last: ${JSON.stringify(this.received.slice(-3))}`);
  }

  async settle(): Promise<void> {
    await this.#oracle.learnEpoch();
    const time = (await this.#now()).toBigInt();
    const deadlineMs = Date.now() + TIMEOUT_MS;
    while (this.#oracle.decode(this.#place.cursor).clusterTime < time) {
      if (Date.now() > deadlineMs) throw new Error("the cursor does not reach the time of the last write");
      if (!(await this.next(0))) return;
      await sleep(5);
    }
  }

  async leave(): Promise<void> {}
}

const oracleOf = ({ client, stateDatabase }: SharedService) => new Oracle(client, stateDatabase);
const baseOf = ({ service }: SharedService) => `http://127.0.0.1:${service.address.port}`;

export const sseDriver: Driver = {
  name: "sse",
  // Only a watermark says that a stream is up to date.
  options: { server: { heartbeat: "1s" } },
  async follow(service, claims, request, options) {
    const url = urlOf(baseOf(service), "/v1/sse", parametersOf(request, options));
    const { stream, refused } = await SseClient.open(url, await headersFor(claims));
    if (stream === undefined) return refusedReader(refused);
    const subscribed = await stream.untilType("subscribed");
    if (subscribed === undefined) throw new Error(`the stream is ${stream.ended}`);
    return new SseReader(stream, subscribed.data, oracleOf(service), options.now);
  },
};

export const pollDriver: Driver = {
  name: "poll",
  async follow(service, claims, request, options) {
    // As browsers do; it has an effect only where the service compresses.
    const headers = { ...(await headersFor(claims)), "Accept-Encoding": "gzip, deflate, br" };
    const parameters = parametersOf(request, options);
    const poll = (more: Parameters) =>
      ask("GET", urlOf(baseOf(service), "/v1/poll", { ...parameters, ...more }), headers);
    const reader = new PollReader(poll, oracleOf(service), options.now);
    await reader.next(0);
    return reader;
  },
};

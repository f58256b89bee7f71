import type { Timestamp } from "mongodb";
import { signToken } from "../support/service.ts";
import { type Received, WsClient } from "../support/ws-client.ts";
import type { Claims, Driver, Reader, ReaderOptions, Request } from "./scenario.ts";
import type { SharedService } from "./shared-service.ts";

const ID = "the-one";
const OF_THE_CONNECTION = new Set(["welcome", "watermark", "fenced", "pong"]);

/** A subscription on a WebSocket of its own. */
class WsReader implements Reader {
  readonly client: WsClient;
  readonly answer: Received;
  readonly #now: () => Promise<Timestamp>;

  constructor(client: WsClient, answer: Received, now: () => Promise<Timestamp>) {
    this.client = client;
    this.answer = answer;
    this.#now = now;
  }

  get received(): readonly Received[] {
    return this.client.received.filter(({ type }) => !OF_THE_CONNECTION.has(type));
  }

  get place(): { cursor: string; ticket: string } {
    const last = (name: string) =>
      this.client.received.findLast((message) => typeof message[name] === "string")?.[name];
    return { cursor: String(last("cursor")), ticket: String(last("ticket")) };
  }

  async until(fits: (message: Received) => boolean): Promise<Received> {
    const message = await this.client.until(fits);
    if (message === undefined) throw new Error(`closed: ${JSON.stringify(this.client.closed)}`);
    return message;
  }

  async settle(): Promise<void> {
    await this.client.fence(await this.#now());
  }

  leave(): Promise<void> {
    return this.client.close();
  }
}

export const wsDriver: Driver = {
  name: "ws",
  async follow(
    { url }: SharedService,
    claims: Claims,
    request: Request,
    options: ReaderOptions & { readonly now: () => Promise<Timestamp> },
  ): Promise<Reader> {
    const token = claims === null ? {} : { token: await signToken(claims) };
    const values = options.values === undefined ? {} : { values: options.values };
    const client = await WsClient.connect(url, { ...token, ...values });
    const answer = await client.ask({ type: "subscribe", id: ID, ...request });
    return new WsReader(client, answer, options.now);
  },
};

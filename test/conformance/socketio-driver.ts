import type { Timestamp } from "mongodb";
import { signToken } from "../support/service.ts";
import { SocketIoClient } from "../support/socketio-client.ts";
import type { Received } from "../support/ws-client.ts";
import type { Driver, Reader } from "./scenario.ts";

const OF_THE_CONNECTION = new Set(["welcome", "watermark", "fenced"]);

/** A subscription in a namespace of its own session. */
class SocketIoReader implements Reader {
  readonly answer: Received;
  readonly #client: SocketIoClient;
  readonly #now: () => Promise<Timestamp>;

  constructor(client: SocketIoClient, answer: Received, now: () => Promise<Timestamp>) {
    this.#client = client;
    this.answer = answer;
    this.#now = now;
  }

  get received(): readonly Received[] {
    // An error is sent by the acknowledgement alone, `subscribed` by an event as well.
    const events = this.#client.received.filter(({ type }) => !OF_THE_CONNECTION.has(type));
    return this.answer.type === "error" ? [this.answer, ...events] : events;
  }

  get place(): { cursor: string; ticket: string } {
    const last = (name: string) =>
      this.#client.received.findLast((message) => typeof message[name] === "string")?.[name];
    return { cursor: String(last("cursor")), ticket: String(last("ticket")) };
  }

  until(fits: (message: Received) => boolean): Promise<Received> {
    return this.#client.until(fits);
  }

  async settle(): Promise<void> {
    await this.#client.fence(await this.#now());
  }

  async leave(): Promise<void> {
    this.#client.close();
  }
}

export const socketIoDriver: Driver = {
  name: "socketio",
  options: { server: { socketio: true } },
  async follow({ service, database }, claims, request, { values, now }) {
    const auth = {
      ...(claims === null ? {} : { token: await signToken(claims) }),
      ...(values === undefined ? {} : { values }),
    };
    const client = await SocketIoClient.connect(`http://127.0.0.1:${service.address.port}/${database}`, {
      auth,
    });
    const answer = await client.ask("subscribe", request);
    return new SocketIoReader(client, answer, now);
  },
};

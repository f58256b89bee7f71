/** A receiver of webhooks over HTTP, which answers as the test says and remembers what it has accepted. */
import { createServer, type Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished } from "vitest";

/** A CloudEvent as it arrived. */
export interface ReceivedEvent {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly time?: string;
  readonly data: {
    readonly type: string;
    readonly cause: string;
    readonly doc?: Readonly<Record<string, unknown>>;
    readonly _id?: unknown;
  };
}

/** The status of an answer, at once or later. */
export type Respond = (event: ReceivedEvent) => number | Promise<number>;

/** Waits for events of other processes on a machine that may be busy. */
const PATIENCE = { timeout: 60_000, interval: 20 };

export const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

export class WebhookReceiver {
  /** Every event that was answered with 200, in the order of arrival. */
  readonly accepted: ReceivedEvent[] = [];
  /** Requests, whatever the answer. */
  requests = 0;
  respond: Respond = () => 200;
  #server: Server | null = null;
  #port = 0;

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await receiver.open();
    onTestFinished(() => receiver.close());
    return receiver;
  }

  /**
   * The section `to` of a sink that sends here. The timeout is the longest one, because a request that a test holds would
   * otherwise end on a busy machine before the test has seen what it waits for.
   */
  get to(): Record<string, unknown> {
    const url = `http://127.0.0.1:${this.#port}/hook`;
    return { webhook: { url, secret: SECRET, allowPrivate: true, timeout: "1m" } };
  }

  /** Listens, again on the same port after `close`. */
  async open(): Promise<void> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        void this.#answer(JSON.parse(Buffer.concat(chunks).toString())).then((status) =>
          response.writeHead(status).end(),
        );
      });
    });
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    const address = server.address();
    if (typeof address === "object" && address !== null) this.#port = address.port;
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** Waits until so many events were accepted. */
  async holds(count: number): Promise<void> {
    await expect.poll(() => this.accepted.length, PATIENCE).toBeGreaterThanOrEqual(count);
  }

  /** Waits until no more arrives for a while. It is no proof, and only used where a repetition would be a fault. */
  async rests(ms = 300): Promise<void> {
    for (let before = -1; before !== this.requests; ) {
      before = this.requests;
      await sleep(ms);
    }
  }

  /** The ids of the events. */
  get ids(): string[] {
    return this.accepted.map(({ id }) => id);
  }

  /** The values of a field of the documents of one `_id`, in the order of arrival. */
  valuesOf(subject: string, field: string): unknown[] {
    const own = this.accepted.filter((event) => event.subject === subject);
    return own.map(({ data }) => data.doc?.[field]);
  }

  async #answer(event: ReceivedEvent): Promise<number> {
    this.requests++;
    const status = await this.respond(event);
    if (status === 200) this.accepted.push(event);
    return status;
  }
}

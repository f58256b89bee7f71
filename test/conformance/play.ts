/** Plays a conversation with a service: for recording one, and for replaying it. */
import { BSON } from "mongodb";
import { signToken } from "../support/service.ts";
import { type Received, WsClient } from "../support/ws-client.ts";
import type { Move } from "./conversations.ts";
import type { SharedService } from "./shared-service.ts";
import type { Step } from "./transcript.ts";
import { isOfVersion1 } from "./transcript.ts";

type Doing = Exclude<Step, { server: string } | { closed: string }>;

export class Play {
  readonly service: SharedService;
  readonly clients = new Map<string, WsClient>();
  /** Messages that have arrived and were not compared yet, by connection. */
  readonly #unseen = new Map<string, Received[]>();
  /** All messages that were looked at, in the conversation's order: `<cursor 3>` is that of the fourth. */
  readonly seen: Received[] = [];

  constructor(service: SharedService) {
    this.service = service;
  }

  async do(step: Doing | Move): Promise<void> {
    if ("connect" in step) await this.#connect(step.connect);
    else if ("client" in step) await this.#send(step);
    else if ("database" in step) await this.#write(step.database);
    else if ("edit" in step) await this.service.reload({ ...this.service.file, collections: step.edit });
    // Its end is the end of the conversation.
    else this.service.service.drain().catch(() => {});
  }

  /** The next message of a connection, or the code it was closed with. A watermark counts only if it is waited for. */
  async next(name: string, type?: string): Promise<Received | number> {
    const client = this.client(name);
    const unseen = this.#unseen.get(name) ?? [];
    for (;;) {
      for (let got = unseen.shift(); got !== undefined; got = unseen.shift()) {
        if (!isOfVersion1(got) || (got.type === "watermark" && type !== "watermark")) continue;
        this.seen.push(got);
        return got;
      }
      if (client.closed !== undefined) return client.closed.code;
      await client.until(() => unseen.length > 0, client.received.length);
    }
  }

  /** The messages up to the last write that no `next` has asked for. */
  async rest(): Promise<Received[]> {
    const fence = { type: "fence", id: "the end", operationTime: await this.#now() };
    const isTheEnd = (got: Received) => got["id"] === fence.id;
    for (const client of this.clients.values()) {
      if (client.closed !== undefined) continue;
      client.send(fence);
      await client.until(isTheEnd);
    }
    return [...this.#unseen.values()]
      .flat()
      .filter((got) => isOfVersion1(got) && got.type !== "watermark" && !isTheEnd(got));
  }

  client(name: string): WsClient {
    const client = this.clients.get(name);
    if (client === undefined) throw new Error(`no connection ${name}`);
    return client;
  }

  async #connect(name: string): Promise<void> {
    const unseen: Received[] = [];
    const client = await WsClient.connect(this.service.url, { silent: true });
    unseen.push(...client.received);
    client.onMessage = (message) => unseen.push(message);
    this.clients.set(name, client);
    this.#unseen.set(name, unseen);
  }

  async #send({ client, sends, claims }: Extract<Doing, { client: string }>): Promise<void> {
    const { expiresInSeconds, ...payload } = claims ?? {};
    const token = claims === undefined ? "" : await signToken(payload, Number(expiresInSeconds ?? 3_600));
    const now = await this.#now();
    const message = Object.fromEntries(
      Object.entries(sends).map(([key, value]) => [
        key,
        value === "<now>" ? now : this.#filledIn(value, token),
      ]),
    );
    this.client(client).send(message);
  }

  async #now(): Promise<object> {
    const { operationTime } = await this.service.client.db("admin").command({ ping: 1 });
    return { $timestamp: { t: operationTime.t, i: operationTime.i } };
  }

  #filledIn(value: unknown, token: string): unknown {
    if (value === "<token>") return token;
    const [, field, index] = /^<(cursor|ticket) (\d+)>$/.exec(String(value)) ?? [];
    return field === undefined ? value : this.seen[Number(index)]?.[field];
  }

  async #write(commands: Record<string, unknown> | readonly Record<string, unknown>[]): Promise<void> {
    const db = this.service.client.db(this.service.database);
    const read = (command: unknown) => BSON.EJSON.deserialize(command as BSON.Document); // JSON from the file
    if (!Array.isArray(commands)) {
      await db.command(read(commands));
      return;
    }
    await this.service.client.withSession((session) =>
      session.withTransaction(async () => {
        for (const command of commands) await db.command(read(command), { session });
      }),
    );
  }
}

/** A WebSocket proxy between one client and the service. It records both directions, and breaks connections as a scenario says. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";
import type { Events } from "./events.ts";
import { type Action, type Arm, fits } from "./scenario.ts";

type Message = Record<string, unknown>;

/** One connection of the client, as far as it reached the service. */
export interface Connection {
  endedAtMs: number | undefined;
  /** The side that ended it; undefined while it lasts. */
  endedBy: "client" | "service" | "scenario" | undefined;
  /** The messages of the client, in order. */
  readonly sent: Message[];
  /** When each of them arrived. */
  readonly sentAtMs: number[];
  /** How many of them had arrived when `welcome` passed. */
  sentBeforeWelcome: number | undefined;
  /** The messages that the client received, in order. */
  readonly passed: Message[];
}

interface Pair {
  readonly record: Connection;
  readonly client: WebSocket;
  readonly service: WebSocket;
  isSilent: boolean;
  /** Answers of the scenario to early requests. `welcome` is always the first answer. */
  readonly afterWelcome: (() => void)[];
}

type Armed = Arm & { matched: number; left: number };

/** The longest time for which `welcome` waits for a request of the client, in milliseconds. */
const WELCOME_HELD_MS = 1_000;

export class ClientProxy {
  readonly connections: Connection[] = [];
  /** When upgrades were attempted, also those that were refused. */
  readonly attemptsAtMs: number[] = [];
  readonly #events: Events;
  readonly #target: () => string;
  readonly #server: Server = createServer();
  readonly #sockets = new WebSocketServer({ noServer: true });
  readonly #pairs = new Set<Pair>();
  readonly #raw = new Set<Duplex>();
  /** Upgrades that the service has not answered yet. */
  readonly #connecting = new Set<Duplex>();
  readonly #armed: Armed[] = [];
  readonly #refusals: number[] = [];
  holdsWelcome = false;

  /** @param target The service, as `ws://127.0.0.1:…`; asked for at each connection. */
  constructor(events: Events, target: () => string) {
    this.#events = events;
    this.#target = target;
    this.#server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Whether the newest of its connections may not be in the list yet. */
  get isConnecting(): boolean {
    return this.#connecting.size > 0;
  }

  /** @returns The URL for the client. */
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    // A server that listens on a port has an address.
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  arm(arm: Arm): void {
    this.#armed.push({ ...arm, matched: 0, left: arm.times ?? 1 });
  }

  /** Answers the next upgrades with this HTTP status. */
  refuse(status: number, times: number): void {
    for (let count = 0; count < times; count++) this.#refusals.push(status);
  }

  /** The open connection receives nothing more, and stays open. */
  silence(): void {
    for (const pair of this.#pairs) pair.isSilent = true;
  }

  /** Resets all connections. */
  cut(): void {
    for (const { record, client, service } of this.#pairs) {
      record.endedBy ??= "scenario";
      client.terminate();
      service.terminate();
    }
  }

  close(code: number, messages: readonly Message[] = []): void {
    for (const pair of [...this.#pairs])
      this.#act(pair, { drop: true, send: [...messages], close: code }, {});
  }

  send(messages: readonly Message[]): void {
    for (const pair of this.#pairs) for (const message of messages) this.#deliver(pair, message);
  }

  stop(): void {
    this.cut();
    for (const socket of this.#raw) socket.destroy();
    this.#server.close();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.attemptsAtMs.push(Date.now());
    this.#raw.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#raw.delete(socket);
      this.#connecting.delete(socket);
      this.#events.happened();
    });
    this.#events.happened();
    const status = this.#refusals.shift();
    if (status === undefined) this.#connect(request, socket, head);
    else refuse(socket, status);
  }

  /** Connects to the service first, so that its answer to the upgrade is the answer to the client. */
  #connect(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#connecting.add(socket);
    const { authorization, origin, "sec-websocket-protocol": offered } = request.headers;
    const service = new WebSocket(`${this.#target()}${request.url}`, offered?.split(/, */) ?? [], {
      headers: { ...(authorization && { authorization }), ...(origin && { origin }) },
    });
    // The service may speak before the client's side is ready.
    const early: string[] = [];
    const keep = (data: unknown) => early.push(String(data));
    service.on("message", keep);
    service.on("unexpected-response", (_request, { statusCode = 502 }) => refuse(socket, statusCode));
    service.on("error", () => socket.destroy());
    service.on("open", () => {
      this.#sockets.handleUpgrade(request, socket, head, (client) => {
        service.off("message", keep);
        this.#connecting.delete(socket);
        this.#join(client, service, early);
      });
    });
  }

  #join(client: WebSocket, service: WebSocket, early: readonly string[]): void {
    const record: Connection = {
      endedAtMs: undefined,
      endedBy: undefined,
      sent: [],
      sentAtMs: [],
      sentBeforeWelcome: undefined,
      passed: [],
    };
    const pair: Pair = { record, client, service, isSilent: false, afterWelcome: [] };
    this.connections.push(record);
    this.#pairs.add(pair);
    const inTurn = oneAfterTheOther();
    const pass = (text: string) => inTurn(() => this.#fromService(pair, text));
    for (const text of early) pass(text);
    service.on("message", (data) => pass(String(data)));
    service.on("ping", (data) => {
      if (!pair.isSilent) client.ping(data);
    });
    service.on("close", (code, reason) =>
      inTurn(async () => {
        record.endedBy ??= "service";
        endWith(client, code, reason);
      }),
    );
    client.on("message", (data) => this.#fromClient(pair, String(data)));
    client.on("close", () => {
      record.endedAtMs ??= Date.now();
      record.endedBy ??= "client";
      this.#pairs.delete(pair);
      service.terminate();
      this.#events.happened();
    });
    client.on("error", () => client.terminate());
    this.#events.happened();
  }

  #fromClient(pair: Pair, text: string): void {
    const message = parse(text);
    pair.record.sent.push(message);
    pair.record.sentAtMs.push(Date.now());
    const action = this.#matching("request", message);
    this.#events.happened();
    if (action?.drop !== true && pair.service.readyState === WebSocket.OPEN) pair.service.send(text);
    if (action === undefined) return;
    const act = () => this.#act(pair, { ...action, drop: true }, message);
    if (action.send !== undefined && pair.record.sentBeforeWelcome === undefined) pair.afterWelcome.push(act);
    else act();
  }

  async #fromService(pair: Pair, text: string): Promise<void> {
    const { record } = pair;
    const message = parse(text);
    const action = this.#matching("on", message) ?? {};
    const { holdMs } = action;
    if (holdMs !== undefined) await new Promise((resolve) => setTimeout(resolve, holdMs));
    if (message["type"] === "welcome") {
      const hasAsked = () => (record.sent.length > 1 ? true : undefined);
      if (this.holdsWelcome) await this.#events.until(hasAsked, "a request", WELCOME_HELD_MS).catch(() => {}); // a client that waits for welcome
      record.sentBeforeWelcome = record.sent.length;
    }
    this.#act(pair, action, message, text);
    if (message["type"] === "welcome") for (const act of pair.afterWelcome.splice(0)) act();
  }

  /** The action for a message, if a scenario has armed one. */
  #matching(kind: "on" | "request", message: Message): Action | undefined {
    for (const armed of this.#armed) {
      const pattern = armed[kind];
      if (armed.left === 0 || pattern === undefined || !fits(message, pattern)) continue;
      armed.matched++;
      if (armed.matched < (armed.nth ?? 1)) continue;
      armed.left--;
      return armed.do;
    }
    return undefined;
  }

  #act(pair: Pair, { drop, send = [], add, close, cut }: Action, message: Message, text?: string): void {
    if (drop !== true) this.#deliver(pair, { ...message, ...add }, add === undefined ? text : undefined);
    for (const more of send) {
      const filled = Object.entries(more).map(([name, value]) => [
        name,
        value === "<id>" ? message["id"] : value,
      ]);
      this.#deliver(pair, Object.fromEntries(filled));
    }
    if (close === undefined && cut !== true) return;
    pair.record.endedAtMs ??= Date.now();
    pair.record.endedBy ??= "scenario";
    if (close !== undefined) pair.client.close(close);
    if (cut === true) pair.client.terminate();
  }

  /** @param text The message as the service wrote it, which need not be how this process would write it. */
  #deliver({ client, record, isSilent }: Pair, message: Message, text = JSON.stringify(message)): void {
    if (isSilent || client.readyState !== WebSocket.OPEN) return;
    client.send(text);
    record.passed.push(message);
    this.#events.happened();
  }
}

/** Runs tasks one after the other, so that a message that waits holds back those after it. */
function oneAfterTheOther(): (task: () => Promise<void>) => void {
  let last = Promise.resolve();
  return (task) => {
    last = last.then(task);
  };
}

/** Both sides send JSON objects; others are the business of the service. */
function parse(text: string): Message {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}

/** Codes below 1000, and those that no endpoint may send, are what a broken connection looks like. */
function endWith(socket: WebSocket, code: number, reason: Buffer): void {
  if (code === 1005 || code === 1006 || code < 1000) socket.terminate();
  else socket.close(code, reason);
}

/** The service as a script: every socket that a client opens is the test's to answer. */
import type { WebSocketLike } from "../../src/client/transport.ts";
import type { ClientMessage, ServerMessage, WelcomeMessage } from "../../src/protocol/messages.ts";

type Sent<T extends ClientMessage["type"]> = Extract<ClientMessage, { type: T }>;

export class FakeSocket implements WebSocketLike {
  readonly url: string;
  readonly protocols: string[];
  onopen: unknown = null;
  onmessage: unknown = null;
  onclose: unknown = null;
  onerror: unknown = null;
  /** The messages of the client, in order. */
  readonly sent: ClientMessage[] = [];
  /** How the client has closed it. */
  closedWith: number | undefined;
  isOpen = false;

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  send(data: string): void {
    if (!this.isOpen) throw new Error("sent on a socket that is not open");
    this.sent.push(JSON.parse(data));
  }

  close(code?: number): void {
    this.closedWith = code ?? 1005;
    this.isOpen = false;
  }

  of<T extends ClientMessage["type"]>(type: T): Sent<T>[] {
    return this.sent.filter((message): message is Sent<T> => message.type === type);
  }

  /** The last message of a type. */
  last<T extends ClientMessage["type"]>(type: T): Sent<T> {
    const message = this.of(type).at(-1);
    if (message === undefined) throw new Error(`no ${type} among ${JSON.stringify(this.sent)}`);
    return message;
  }

  open(): this {
    this.isOpen = true;
    call(this.onopen, {});
    return this;
  }

  /** Text frames from the service. */
  tell(...messages: ServerMessage[]): this {
    for (const message of messages) this.tellText(JSON.stringify(message));
    return this;
  }

  tellText(data: string): void {
    call(this.onmessage, { data });
  }

  welcome(welcome: Partial<WelcomeMessage> = {}): this {
    const limits = { ...WELCOME.limits, ...welcome.limits };
    return (this.isOpen ? this : this.open()).tell({ ...WELCOME, ...welcome, limits });
  }

  /** The connection ends, by the service or on the way. */
  drop(code = 1006, reason = ""): void {
    this.isOpen = false;
    call(this.onerror, {});
    call(this.onclose, { code, reason });
  }
}

function call(handler: unknown, event: object): void {
  if (typeof handler === "function") handler(event);
}

export const WELCOME: WelcomeMessage = {
  type: "welcome",
  connection: "c1",
  node: "n1",
  heartbeat: 25_000,
  user: "u1",
  expires: null,
  reconnect: { minMs: 250, maxMs: 30_000, factor: 2, stableAfterMs: 5_000 },
  limits: { earlyMessages: 32, messageBytes: 65_536 },
};

export class FakeService {
  readonly sockets: FakeSocket[] = [];
  /** Called for every socket that is opened; a script of its own may answer there. */
  onSocket: (socket: FakeSocket) => void = () => {};
  readonly WebSocket: new (
    url: string,
    protocols: string[],
  ) => FakeSocket;

  constructor() {
    const service = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        service.sockets.push(this);
        queueMicrotask(() => service.onSocket(this));
      }
    };
  }

  /** The socket opened last. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("no socket was opened");
    return socket;
  }
}

/**
 * Serves clients of Socket.IO. The library owns the handshake, the sessions and the namespaces; limits, tokens, rights
 * and delivery are those of every other transport.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket as NetSocket } from "node:net";
import type { Server, Socket } from "socket.io";
import type { Identity } from "../../auth/verify-token.ts";
import { guarded, runGuarded } from "../../metrics/guard.ts";
import { CLOSE_CODES } from "../../protocol/close-codes.ts";
import { TidewireError } from "../../protocol/errors.ts";
import type { ErrorMessage, HelloMessage } from "../../protocol/messages.ts";
import type { RuleSet } from "../../rules/compile-rules.ts";
import { PRESENCE } from "../../rules/presence-options.ts";
import { ClientError, toErrorMessage } from "../connection/client-error.ts";
import { identify } from "../connection/handlers/hello.ts";
import { checkShape } from "../connection/incoming.ts";
import type { OpenConnection, OpenedConnection } from "../connection/open-connection.ts";
import { checkMessage } from "../connection/parse-message.ts";
import type { GatewayContext } from "../context.ts";
import type { Admission } from "../http/admission.ts";
import { answerPreflight, isPreflight } from "../http/cors.ts";
import { chargeConnect, checkOrigin } from "../http/http-admission.ts";
import { bearerOf } from "../http/http-request.ts";
import { engineSockets } from "../transports/control-frames.ts";
import { answerError } from "../transports/http-exchange.ts";
import { NO_CLOSE_FRAME } from "../transports/ws.ts";
import { SocketIoEvents, SocketIoTransport } from "./socketio.ts";
import { type Acknowledge, Acknowledgements } from "./socketio-acks.ts";
import { boundedParser, type SocketIoParser } from "./socketio-parser.ts";
import { checkPolling, queryOf } from "./socketio-query.ts";
import { type SocketIoMember, SocketIoSession } from "./socketio-session.ts";

/** The parts that `server.socketio` needs in addition to the options. */
export interface SocketIoOptions {
  /** Of the package `socket.io`, which is installed only if it is wanted. */
  readonly Server: typeof Server;
  /** The parser that the package uses. */
  readonly parser: SocketIoParser;
  /** The database of the default namespace. */
  readonly database: string;
}

/** The parts of the gateway that the endpoint uses. */
export interface SocketIoGateway {
  readonly open: OpenConnection;
  /** The limit that the latest connection from this address has exceeded; `null` if none. */
  readonly overLimit: (address: string) => ClientError | null;
}

const PATHS = new Set(["/socket.io", "/socket.io/"]);
/** Messages with an `id`, which a client of Socket.IO may omit. */
const HAVE_ID = new Set(["subscribe", "fence", "enter"]);

/** A database, in the form of its namespace. */
interface View {
  readonly context: GatewayContext;
  readonly events: SocketIoEvents;
}

/**
 * Socket.IO (protocol 5) at the edge of the gateway. A namespace is a database, and a client in it is a connection like
 * any other. The library keeps sessions and namespaces; reading and writing use the transport.
 */
export class SocketIoEndpoint {
  readonly #context: GatewayContext;
  readonly #database: string;
  readonly #admission: Admission;
  readonly #gateway: SocketIoGateway;
  readonly #io: Server;
  readonly #sessions = new Map<string, SocketIoSession>();
  readonly #byEngine = new WeakMap<Socket["conn"], SocketIoSession>();
  readonly #transports = new WeakMap<Socket, SocketIoTransport>();
  readonly #views = new Map<string, View>();

  constructor(
    { Server, parser, database }: SocketIoOptions,
    context: GatewayContext,
    admission: Admission,
    gateway: SocketIoGateway,
  ) {
    this.#context = context;
    this.#database = database;
    this.#admission = admission;
    this.#gateway = gateway;
    const { server, limits, auth } = context;
    this.#io = new Server({
      serveClient: false,
      parser: boundedParser(parser),
      connectTimeout: auth.helloTimeoutMs,
      cleanupEmptyChildNamespaces: true,
      maxHttpBufferSize: limits.messageBytes,
      pingInterval: server.heartbeatMs,
      // A ping waits behind data that the client has not read yet, so slow readers need the longer timeout to stay
      // connected.
      pingTimeout: limits.stallTimeoutMs,
      // As for WebSockets. In addition, an answer that is still being compressed would count as sent.
      perMessageDeflate: false,
      httpCompression: false,
      wsEngine: engineSockets(context),
    });
    // Only authenticated clients learn whether a database is served, so the endpoint accepts any name.
    for (const namespace of [this.#io.of("/"), this.#io.of((_name, _auth, allow) => allow(null, true))]) {
      namespace.use((socket, next) => {
        const join = () => this.#join(socket, next);
        runGuarded(context, "socketio.join", join, () => this.#byEngine.get(socket.conn)?.destroy());
      });
      namespace.on("connection", (socket) => {
        const joined = () => this.#transports.get(socket)?.joined();
        runGuarded(context, "socketio.joined", joined, () => this.#byEngine.get(socket.conn)?.destroy());
      });
    }
    // The endpoint passes requests to the library itself, so the listeners of our server keep their order.
    this.#io.attach(createServer());
    this.#followEngine();
  }

  /** Whether the request is for this endpoint. */
  serves({ url = "" }: IncomingMessage): boolean {
    return PATHS.has(url.split("?")[0] ?? "");
  }

  /** Why the URL of an upgrade is refused, before anything else reads it; `null` if it has one meaning. */
  problemOf(request: IncomingMessage): string | null {
    try {
      queryOf(request);
      return null;
    } catch (error) {
      if (error instanceof TidewireError) return error.message;
      throw error;
    }
  }

  /** Whether an upgrade belongs to a session that was admitted, and is its first one. */
  isCounted(request: IncomingMessage): boolean {
    return this.#sessionOf(request)?.hasTriedUpgrade === false;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    try {
      checkOrigin(request, response, this.#context, this.#admission.addressOf(request));
      if (isPreflight(request)) answerPreflight(response, "GET, POST");
      else this.#handOver(request, response);
    } catch (error) {
      // Left unread, a body would block the next request on the socket.
      request.resume();
      const message = toErrorMessage(error, this.#context.log);
      this.#context.metrics.errorsSent.inc({ code: message.code });
      answerError(response, message);
    }
  }

  /** Takes an upgrade that the gateway has admitted. */
  upgrade(request: IncomingMessage, socket: NetSocket, head: Buffer): void {
    this.#sessionOf(request)?.willUpgradeTo(socket);
    this.#io.engine.handleUpgrade(request, socket, head);
  }

  stop(): void {
    this.#io.engine.close();
    for (const session of this.#sessions.values()) session.destroy();
  }

  #handOver(request: IncomingMessage, response: ServerResponse): void {
    checkPolling(queryOf(request));
    const session = this.#sessionOf(request);
    if (session === undefined)
      chargeConnect(this.#admission, this.#admission.addressOf(request), this.#context);
    else if (request.method === "GET") session.polledBy(response);
    const handle = () => this.#io.engine.handleRequest(request, response);
    const handOver = guarded(this.#context, "socketio.request", handle, () => response.destroy());
    if (session !== undefined && request.method === "POST") session.take(handOver);
    else handOver();
  }

  /** @throws {TidewireError} `bad-request` if the request can be read in two ways. */
  #sessionOf(request: IncomingMessage): SocketIoSession | undefined {
    const { sid } = queryOf(request);
    return sid === undefined ? undefined : this.#sessions.get(sid);
  }

  /**
   * Gives sessions their ids, so that requests can be matched to them, and counts sessions that are in no namespace.
   */
  #followEngine(): void {
    const { engine } = this.#io;
    const ids = new WeakMap<IncomingMessage, string>();
    engine.generateId = (request: IncomingMessage) => {
      const id = randomBytes(15).toString("base64url");
      ids.set(request, id);
      return id;
    };
    engine.on("connection", (connection: Socket["conn"]) => {
      const begin = () => this.#begin(connection, ids.get(connection.request) ?? "");
      runGuarded(this.#context, "socketio.session", begin, () => connection.close(true));
    });
  }

  #begin(connection: Socket["conn"], id: string): void {
    const address = this.#admission.addressOf(connection.request);
    const session = new SocketIoSession(connection, address, this.#context);
    this.#sessions.set(id, session);
    this.#byEngine.set(connection, session);
    this.#admission.connected(address);
    const ended = () => {
      this.#sessions.delete(id);
      // The clients in the session have just left.
      this.#admission.disconnected(address);
    };
    connection.once("close", session.guarded("socketio.session", ended));
    if (this.#gateway.overLimit(address) !== null) session.destroy();
  }

  /** Handles the request of a client to join a namespace. */
  #join(socket: Socket, next: (error?: Error) => void): void {
    try {
      const session = this.#byEngine.get(socket.conn);
      assert(session !== undefined, "the engine has announced every session");
      // The first join follows the handshake, which was charged.
      if (session.joinAgain()) chargeConnect(this.#admission, session.address, this.#context);
      const hello = readHello(socket.handshake.auth, this.#context);
      this.#connect(socket, session, hello, next);
    } catch (error) {
      next(toConnectError(toErrorMessage(error, this.#context.log)));
    }
  }

  /** Makes the connection of the client in this namespace. From then on its transport answers the client. */
  #connect(
    socket: Socket,
    session: SocketIoSession,
    hello: HelloMessage,
    next: (error?: Error) => void,
  ): void {
    const { context, events } = this.#viewOf(socket.nsp.name);
    const acks = new Acknowledgements();
    const transport = new SocketIoTransport(session, events, acks, {
      admit: (refusal) => {
        if (refusal !== null) this.#leave(session, member);
        next(refusal === null ? undefined : toConnectError(refusal));
      },
      dismiss: () => socket.disconnect(),
    });
    // `undefined` if the connection is refused while it is being made.
    let client: OpenedConnection | undefined;
    const member: SocketIoMember = {
      heard: () => client?.inbox.heard(),
      ended: (code) => {
        this.#leave(session, member);
        client?.connection.transportEnded(code);
        transport.left();
      },
    };
    this.#enter(session, member);
    const opened = this.#gateway.open(transport, session.address, Date.now(), context);
    const { connection, inbox } = opened;
    if (connection.isClosed) return;
    client = opened;
    this.#transports.set(socket, transport);
    const left = () => member.ended(NO_CLOSE_FRAME);
    const received = (name: unknown, ...given: unknown[]) => receive(opened, acks, String(name), given);
    const identify = () => this.#identify(socket, session.address, hello, context);
    const authenticate = () => inbox.authenticateByRequest(identify, hello.values);
    socket.once("disconnect", connection.guarded("socketio.disconnect", left));
    socket.onAny(connection.guarded("socketio.event", received));
    connection.guarded("socketio.authenticate", authenticate)();
  }

  /** A session counts as a connection as long as no client in it does. */
  #enter({ members, address }: SocketIoSession, member: SocketIoMember): void {
    if (members.size === 0) this.#admission.disconnected(address);
    members.add(member);
  }

  #leave(session: SocketIoSession, member: SocketIoMember): void {
    if (!session.members.delete(member) || session.members.size > 0) return;
    this.#admission.connected(session.address);
    const endIfIdle = () => {
      if (session.isOpen && session.members.size === 0) session.close();
    };
    const whenIdle = guarded(this.#context, "socketio.idle", endIfIdle);
    setTimeout(whenIdle, this.#context.auth.helloTimeoutMs).unref();
  }

  async #identify(
    socket: Socket,
    address: string,
    { token }: HelloMessage,
    { rules }: GatewayContext,
  ): Promise<Identity | null> {
    const given = token ?? bearerOf(socket.request);
    const identity = await identify(this.#context, given, address, "in auth: { token }");
    // An anonymous client must not learn which databases exist.
    if (identity !== null && rules.collections.size === 0) {
      const text = "no collection is served in this namespace: it is the name of a database";
      throw new ClientError("unknown-collection", text, CLOSE_CODES.notAllowed);
    }
    return identity;
  }

  #viewOf(namespace: string): View {
    const known = this.#views.get(namespace);
    if (known !== undefined) return known;
    const database = namespace === "/" ? this.#database : namespace.slice(1);
    const context = narrowed(this.#context, database, database === this.#database);
    const view = { context, events: new SocketIoEvents(namespace) };
    // A client can ask for any name. Only existing ones are kept.
    if (view.context.rules.collections.size > 0) this.#views.set(namespace, view);
    return view;
  }
}

/**
 * The same context with the rules of one database alone. An edit of the rules is visible through it.
 * @param isDefault Whether the entries of presence, which are in the state database, belong to it.
 */
function narrowed(context: GatewayContext, database: string, isDefault: boolean): GatewayContext {
  let whole: RuleSet | undefined;
  let part = context.rules;
  return {
    ...context,
    get rules() {
      if (whole === context.rules) return part;
      whole = context.rules;
      const hasPresence = isDefault && whole.presence !== undefined;
      const own = [...whole.collections].filter(
        ([name, collection]) => collection.database === database || (hasPresence && name === PRESENCE),
      );
      part = { ...whole, collections: new Map(own), partOf: whole };
      return part;
    },
  };
}

/** Takes one event of a client as the message of its name. An event of another form is refused like such a message. */
function receive(
  { connection, inbox }: OpenedConnection,
  acks: Acknowledgements,
  name: string,
  given: unknown[],
): void {
  const acknowledge = typeof given.at(-1) === "function" ? (given.pop() as Acknowledge) : undefined; // the library passes the client's callback last
  const [body = {}, ...more] = given;
  const fields = { ...(isObject(body) ? body : {}) };
  if (!isObject(body) || more.length > 0) fields["arguments"] = given;
  if (HAVE_ID.has(name)) fields["id"] ??= randomBytes(9).toString("base64url");
  const { id } = fields;
  const refused =
    acknowledge === undefined
      ? undefined
      : acks.expect(name, typeof id === "string" ? id : undefined, acknowledge);
  const { limits } = connection.context;
  inbox.receive(checkShape({ ...fields, type: name }, limits), Date.now(), refused);
}

/**
 * Reads the `auth` that a client passes when it joins, as the `hello` that it represents.
 * @throws {TidewireError} It is not valid.
 */
function readHello(auth: Readonly<Record<string, unknown>>, { limits }: GatewayContext): HelloMessage {
  const message = checkShape({ ...auth, type: "hello" }, limits);
  if ("unread" in message) throw message.error;
  return checkMessage(message.fields) as HelloMessage; // its type is "hello"
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The error in the form in which the library's client passes it to `connect_error`: code and advice are in `data`. */
function toConnectError({ type: _type, message, ...data }: ErrorMessage): Error {
  return Object.assign(new Error(message), { data });
}

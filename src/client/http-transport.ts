/**
 * Streams and polls over `fetch`. Each subscription is a separate HTTP request, so this file makes several requests
 * look like one connection to the session: one welcome, one end.
 */
import type {
  ClientMessage,
  ErrorMessage,
  ServerMessage,
  SubscribedMessage,
  SubscribeMessage,
  WelcomeMessage,
} from "../protocol/messages.ts";
import { eventData, readText } from "./read-body.ts";
import { FIRST_ADVICE } from "./reconnect.ts";
import { BROKEN, type HttpTarget, type Transport, type TransportEvents, Watchdog } from "./transport.ts";

const TOKEN_EXPIRED = 4100;
const NOT_AUTHENTICATED = 4401;
/** The heartbeat that is assumed until a stream has named its own, and the wait of polls, in milliseconds. */
const HEARTBEAT_MS = 25_000;
/** An empty answer that arrives sooner was not waited for, so a proxy has invented it. In milliseconds. */
const POLL_PAUSE_MS = 1_000;

/** [7] The answer to a poll. */
interface PollAnswer extends Pick<SubscribedMessage, "start" | "reason" | "cursor" | "ticket"> {
  readonly messages: ServerMessage[];
}

/** Requests other than streams are answered without a welcome, and the session expects one. */
const WELCOME: WelcomeMessage = {
  type: "welcome",
  connection: "",
  node: "",
  heartbeat: HEARTBEAT_MS,
  user: null,
  expires: null,
  reconnect: FIRST_ADVICE,
  limits: {},
};

/** The connection must be given up. */
class Broken extends Error {
  readonly code: number;

  constructor(code: number, reason: string) {
    super(reason);
    this.code = code;
  }
}

/**
 * [7] Server-sent events or long polling, for networks that break WebSockets: one request per subscription. Streams are
 * read with `fetch`, because an `EventSource` cannot send `Authorization`.
 */
export class HttpTransport implements Transport {
  readonly kind: "sse" | "poll";
  readonly #target: HttpTarget;
  readonly #events: TransportEvents;
  readonly #requests = new Map<string, AbortController>();
  /** Requests that wait until the service has answered one. If it cannot be reached, all of them would fail. */
  #waiting: SubscribeMessage[] = [];
  #isReached = false;
  #isWelcome = false;
  #ended = false;

  constructor(kind: "sse" | "poll", target: HttpTarget, events: TransportEvents) {
    this.kind = kind;
    this.#target = target;
    this.#events = events;
    queueMicrotask(() => {
      if (!this.#ended) events.ready();
    });
  }

  send(message: ClientMessage): void {
    const requests = this.#requests;
    if (message.type === "subscribe") {
      if (this.#isReached || requests.size === 0 || requests.has(message.id)) void this.#follow(message);
      else this.#waiting.push(message);
    } else if (message.type === "unsubscribe") {
      this.#waiting = this.#waiting.filter(({ id }) => id !== message.id);
      requests.get(message.id)?.abort();
      requests.delete(message.id);
      const next = requests.size === 0 && this.#waiting.shift();
      if (next) void this.#follow(next);
    }
  }

  /**
   * Sends a request that is answered at once.
   * @returns The answer, which may be an error; `undefined` if the connection was given up.
   */
  async post(path: string, query: Readonly<Record<string, string>>): Promise<ServerMessage | undefined> {
    try {
      const signal = AbortSignal.timeout(this.#target.connectTimeoutMs);
      const init = { method: "POST", keepalive: true, signal };
      const got = await this.#fetch(`${path}?${new URLSearchParams(query)}`, init);
      if (this.#ended) return undefined;
      if (isRefusal(got)) return got;
      const answer = (await got.json()) as ServerMessage; // the service sends nothing else
      if (this.#ended) return undefined;
      this.#welcome(WELCOME);
      return answer;
    } catch (error) {
      if (!this.#ended) this.#broke(error);
      return undefined;
    }
  }

  /** A request that hangs is detected by its own silence. */
  check(): void {}

  end(): void {
    this.#ended = true;
    for (const request of this.#requests.values()) request.abort();
  }

  async #follow(subscribe: SubscribeMessage): Promise<void> {
    const request = new AbortController();
    this.#requests.get(subscribe.id)?.abort();
    this.#requests.set(subscribe.id, request);
    const { connectTimeoutMs } = this.#target;
    const watchdog = new Watchdog(connectTimeoutMs, () => request.abort(new Broken(BROKEN, "nothing heard")));
    try {
      await (this.kind === "sse"
        ? this.#stream(subscribe, request.signal, watchdog)
        : this.#poll(subscribe, request.signal, watchdog));
    } catch (error) {
      const { reason }: { reason?: unknown } = request.signal;
      if (this.#ended || (request.signal.aborted && !(reason instanceof Broken))) return;
      this.#broke(reason instanceof Broken ? reason : error);
    } finally {
      watchdog.stop();
    }
  }

  #broke(error: unknown): void {
    this.end();
    // Any other error of `fetch` means that no response arrived.
    this.#events.closed(
      error instanceof Broken ? error.code : BROKEN,
      error instanceof Error ? error.message : String(error),
    );
  }

  async #stream(subscribe: SubscribeMessage, signal: AbortSignal, watchdog: Watchdog): Promise<void> {
    const response = await this.#request("sse", subscribe, signal);
    if (response === undefined) return;
    let patienceMs = HEARTBEAT_MS + this.#target.silenceMs;
    let error: ErrorMessage | undefined;
    const texts = readText(response.body, () => watchdog.heard(patienceMs));
    for await (const data of eventData(texts)) {
      signal.throwIfAborted();
      const message = JSON.parse(data) as ServerMessage; // the service sends nothing else
      if (message.type === "welcome") {
        patienceMs = message.heartbeat + this.#target.silenceMs;
        this.#welcome(message);
        continue;
      }
      if (message.type === "error") error = message;
      this.#deliver(message, subscribe.id);
    }
    signal.throwIfAborted();
    throw error?.retry === "token"
      ? new Broken(TOKEN_EXPIRED, error.message)
      : new Broken(BROKEN, "stream ended");
  }

  async #poll(subscribe: SubscribeMessage, signal: AbortSignal, watchdog: Watchdog): Promise<void> {
    const { connectTimeoutMs } = this.#target;
    // The first poll shows how the subscription starts, and does not wait.
    for (let wait = 0, resumption = {}; ; wait = HEARTBEAT_MS / 1_000) {
      watchdog.heard(connectTimeoutMs + wait * 1_000);
      const askedAtMs = Date.now();
      const response = await this.#request("poll", { ...subscribe, ...resumption, wait }, signal);
      if (response === undefined) return;
      let text = "";
      for await (const piece of readText(response.body, () => watchdog.heard(connectTimeoutMs)))
        text += piece;
      const answer: PollAnswer = JSON.parse(text); // the form of section 7; any other fails here or below
      signal.throwIfAborted();
      const { start, reason, messages, cursor, ticket } = answer;
      this.#welcome(WELCOME);
      const { id } = subscribe;
      this.#deliver(
        { type: "subscribed", id, query: 0, start, cursor, ticket, ...(reason && { reason }) },
        id,
      );
      for (const message of messages) this.#deliver(message, id);
      this.#deliver({ type: "watermark", cursor }, id);
      if (messages.length === 0 && wait > 0 && Date.now() - askedAtMs < POLL_PAUSE_MS) {
        await new Promise((resolve) => setTimeout(resolve, POLL_PAUSE_MS));
        signal.throwIfAborted();
      }
      resumption = { cursor, ticket };
    }
  }

  /**
   * Sends one request.
   * @returns `undefined` if the subscription was refused. The error was delivered then.
   * @throws {Broken} The connection must be given up.
   */
  async #request(
    path: string,
    request: SubscribeMessage & { wait?: number },
    signal: AbortSignal,
  ): Promise<Response | undefined> {
    const { values } = this.#target;
    const { type: _type, id, documents: _documents, filter, fields, sort, aggregate, ...rest } = request;
    const query = new URLSearchParams({ values });
    for (const [name, value] of Object.entries({ filter, sort, aggregate })) {
      if (value !== undefined) query.set(name, JSON.stringify(value));
    }
    if (fields !== undefined) query.set("fields", fields.join());
    for (const [name, value] of Object.entries(rest)) query.set(name, String(value));
    const got = await this.#fetch(`${path}?${query}`, { signal });
    this.#reached();
    if (!isRefusal(got)) return got;
    this.#deliver({ ...got, id }, id);
    return undefined;
  }

  /**
   * @returns The response, or the error of the service.
   * @throws {Broken} The connection must be given up.
   */
  async #fetch(path: string, init: RequestInit): Promise<Response | ErrorMessage> {
    const { url, token } = this.#target;
    const headers: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    const response = await this.#target.fetch(`${url}/v1/${path}`, { headers, ...init });
    if (response.ok) return response;
    // A body without these fields was made by a proxy.
    const error = (await response.json().catch(() => undefined)) as Partial<ErrorMessage> | undefined;
    if (typeof error?.code !== "string" || typeof error.retry !== "string") {
      throw new Broken(BROKEN, `HTTP ${response.status}`);
    }
    const refusal = { ...error, type: "error", message: error.message ?? "" } as ErrorMessage; // code and retry were checked
    if (response.status === 401) {
      this.#events.message(refusal, undefined);
      throw new Broken(error.retry === "token" ? TOKEN_EXPIRED : NOT_AUTHENTICATED, refusal.message);
    }
    return refusal;
  }

  #reached(): void {
    this.#isReached = true;
    for (const message of this.#waiting.splice(0)) void this.#follow(message);
  }

  /** Reports the first sign of the service. Each stream has its own welcome, and the session expects one. */
  #welcome(message: WelcomeMessage): void {
    if (this.#isWelcome) return;
    this.#isWelcome = true;
    this.#events.message(message, undefined);
  }

  /** In messages, every subscription of a request has the same id, which is replaced by the client's own. */
  #deliver(message: ServerMessage, id: string): void {
    if (this.#ended || !this.#requests.has(id)) return;
    this.#events.message("id" in message ? { ...message, id } : message, id);
  }
}

/** `instanceof Response` would not know the answers of a `fetch` that the application has given, or of another window. */
const isRefusal = (got: Response | ErrorMessage): got is ErrorMessage => "code" in got;

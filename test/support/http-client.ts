/** Clients of the HTTP transports that hide nothing: for tests that ask what exactly arrives. */
import { type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { request as requestByTls } from "node:https";
import { gunzipSync } from "node:zlib";
import type { ErrorMessage, ServerMessage } from "../../src/protocol/messages.ts";

export type Parameters = Readonly<Record<string, string | number | boolean | object | undefined>>;

/** Objects go as JSON, what is undefined not at all. */
export function urlOf(base: string, path: string, parameters: Parameters): string {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) continue;
    url.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return url.href;
}

export interface SseEvent {
  readonly type: string;
  readonly id: string | undefined;
  readonly data: ServerMessage & Record<string, unknown>;
}

/** For events that come at once, except where the machine is busy with something else. */
const PATIENCE_MS = 60_000;

/** A stream of server-sent events, parsed as the HTML standard has it (9.2.6). */
export class SseClient {
  readonly events: SseEvent[] = [];
  readonly retries: number[] = [];
  comments = 0;
  /** The value that a browser would send as `Last-Event-ID`. */
  lastEventId = "";
  ended: "complete" | "cut" | undefined;
  onEvent: (event: SseEvent) => void = () => {};
  readonly response: IncomingMessage;
  #text = "";
  #waiting: (() => void)[] = [];

  private constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding("utf8");
    response.on("data", (text: string) => this.#take(text));
    response.on("error", () => {});
    response.on("close", () => {
      this.ended = response.complete ? "complete" : "cut";
      this.#wake();
    });
  }

  /** Opens a stream; whatever the service answers instead comes as `refused`. */
  static async open(
    url: string,
    headers: Record<string, string> = {},
    ca?: string,
  ): Promise<{ stream: SseClient; refused: undefined } | { stream: undefined; refused: Answer }> {
    const response = await send("GET", url, headers, ca);
    if (response.statusCode !== 200) return { stream: undefined, refused: await read(response) };
    return { stream: new SseClient(response), refused: undefined };
  }

  /** As `open`, where the stream is expected. */
  static async stream(url: string, headers: Record<string, string> = {}, ca?: string): Promise<SseClient> {
    const { stream, refused } = await SseClient.open(url, headers, ca);
    if (stream === undefined) throw new Error(`refused: ${refused.status} ${JSON.stringify(refused.body)}`);
    return stream;
  }

  get messages(): SseEvent["data"][] {
    return this.events.map(({ data }) => data);
  }

  /** The first event, from number `from` on, that fits; `undefined` when the stream has ended without it. */
  async until(
    fits: (event: SseEvent) => boolean,
    from = 0,
    timeoutMs = PATIENCE_MS,
  ): Promise<SseEvent | undefined> {
    const deadline = Date.now() + timeoutMs;
    for (let index = from; ; ) {
      for (; index < this.events.length; index++) {
        const event = this.events[index]!;
        if (fits(event)) return event;
      }
      if (this.ended !== undefined) return undefined;
      if (Date.now() > deadline) {
        throw new Error(`nothing fit in ${timeoutMs} ms; last: ${JSON.stringify(this.events.slice(-5))}`);
      }
      await this.#news(deadline);
    }
  }

  untilType(type: string, from = 0): Promise<SseEvent | undefined> {
    return this.until((event) => event.type === type, from);
  }

  async untilEnded(timeoutMs = PATIENCE_MS): Promise<"complete" | "cut"> {
    await this.until(() => false, this.events.length, timeoutMs);
    return this.ended!;
  }

  /** Drops the connection, as a network does. */
  cut(): void {
    this.response.destroy();
  }

  #take(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf("\n\n"); end >= 0; end = this.#text.indexOf("\n\n")) {
      this.#block(this.#text.slice(0, end).split("\n"));
      this.#text = this.#text.slice(end + 2);
    }
    this.#wake();
  }

  #block(lines: readonly string[]): void {
    let type = "message";
    let data: string | undefined;
    let id: string | undefined;
    for (const line of lines) {
      const [, field = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (field === "") this.comments++;
      else if (field === "event") type = value;
      else if (field === "data") data = data === undefined ? value : `${data}\n${value}`;
      else if (field === "id") id = value;
      else if (field === "retry") this.retries.push(Number(value));
      else throw new Error(`not a field of an event stream: ${line}`);
    }
    if (id !== undefined) this.lastEventId = id;
    if (data === undefined) return;
    const event: SseEvent = { type, id, data: JSON.parse(data) };
    this.events.push(event);
    this.onEvent(event);
  }

  #news(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, deadline - Date.now()));
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ErrorMessage & Record<string, unknown>;
  readonly text: string;
}

/** One request and its whole answer. */
export async function ask(
  method: string,
  url: string,
  headers: Record<string, string> = {},
  ca?: string,
): Promise<Answer> {
  return read(await send(method, url, headers, ca));
}

export interface PollAnswer {
  readonly start: string;
  readonly reason?: string;
  readonly messages: (ServerMessage & Record<string, unknown>)[];
  readonly cursor: string;
  readonly ticket: string;
}

/** One poll that is expected to succeed. */
export async function poll(url: string, headers: Record<string, string> = {}): Promise<PollAnswer> {
  const answer = await ask("GET", url, headers);
  if (answer.status !== 200) throw new Error(`refused: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text);
}

function send(
  method: string,
  url: string,
  headers: Record<string, string>,
  ca?: string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // A socket of its own: a test that looks at limits must know how many there are.
    const options = { method, headers, agent: false } as const;
    const sent = url.startsWith("https:") ? requestByTls(url, { ...options, ca }) : request(url, options);
    sent.once("response", resolve);
    sent.once("error", reject);
    sent.end();
  });
}

async function read(response: IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  const bytes = Buffer.concat(parts);
  const text = (response.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString();
  const isJson = String(response.headers["content-type"] ?? "").startsWith("application/json");
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    body: isJson && text !== "" ? JSON.parse(text) : {},
  };
}

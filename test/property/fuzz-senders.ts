/** Sends hostile messages over each transport, and makes sure after each batch that the service goes on. */
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { WebSocket } from "ws";
import type { Random } from "../support/random.ts";
import { FuzzMessages, hostilePacket, objectIn } from "./fuzz-messages.ts";

export interface FuzzTarget {
  /** `http://127.0.0.1:PORT` */
  readonly base: string;
  readonly token: string;
}

/** The counts of all outcomes. */
export class Tally {
  sent = 0;
  conversations = 0;
  /** Answers by their error code, or else by their type. */
  readonly answers = new Map<string, number>();
  /** Messages that the service answered with an error of its own. */
  readonly internal: string[] = [];

  answered(text: string): void {
    const message = objectIn(text);
    if (message === undefined) return;
    const key = String(message["code"] ?? message["type"]);
    this.answers.set(key, (this.answers.get(key) ?? 0) + 1);
    if (key === "internal") this.internal.push(text);
  }
}

const BATCH = 400;
const BROKEN_MAX = 10;
/** An answer that never comes is a failure; the machine may be busy. */
const PATIENCE_MS = 60_000;

/** A socket with its answers; `settled` says that the service has answered everything, or has closed. */
class FuzzSocket {
  readonly socket: WebSocket;
  readonly #onText: (text: string) => void;
  readonly #waiting = new Map<string, () => void>();
  /** It may arrive before anybody waits for it. */
  #first: string | undefined;
  /** `undefined` while it is open. */
  closeCode: number | undefined;

  private constructor(socket: WebSocket, onText: (text: string) => void) {
    this.socket = socket;
    this.#onText = onText;
    socket.on("message", (data) => {
      const text = String(data);
      this.#first ??= text;
      this.#onText(text);
      for (const [part, wake] of this.#waiting) if (text.includes(part)) wake();
    });
    socket.on("error", () => {});
    socket.on("close", (code) => {
      this.closeCode = code;
      for (const wake of this.#waiting.values()) wake();
    });
  }

  static async open(url: string, onText: (text: string) => void): Promise<FuzzSocket> {
    const socket = new WebSocket(url, { handshakeTimeout: PATIENCE_MS });
    const opened = new FuzzSocket(socket, onText);
    await Promise.race([once(socket, "open"), once(socket, "close")]);
    return opened;
  }

  /** Waits for a text that holds a part, or for the end of the socket. */
  async until(part: string): Promise<void> {
    if (this.closeCode !== undefined || this.#first?.includes(part) === true) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no ${part} within ${PATIENCE_MS} ms`)), PATIENCE_MS);
    });
    try {
      await Promise.race([new Promise<void>((resolve) => this.#waiting.set(part, resolve)), late]);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(part);
    }
  }
}

/** Texts of messages: well-formed ones together on one connection, the others on one each. */
export async function fuzzWebSocket(
  { base, token }: FuzzTarget,
  count: number,
  random: Random,
): Promise<Tally> {
  const tally = new Tally();
  const messages = new FuzzMessages(random);
  const url = `${base.replace("http", "ws")}/v1/ws`;
  const converse = async (texts: readonly string[]) => {
    const client = await FuzzSocket.open(url, (text) => tally.answered(text));
    client.socket.send(JSON.stringify({ type: "hello", token }));
    await client.until('"welcome"');
    for (const text of texts) client.socket.send(text);
    const nonce = `end-${tally.conversations++}-`;
    const ended = client.until(nonce);
    client.socket.send(JSON.stringify({ type: "ping", nonce }));
    await ended;
    tally.sent += texts.length;
    client.socket.terminate();
    return client.closeCode;
  };
  while (tally.sent < count) {
    const texts = Array.from({ length: BATCH }, () => messages.next());
    const whole = texts.filter((text) => objectIn(text) !== undefined);
    const closeCode = await converse(whole);
    if (closeCode !== undefined)
      throw new Error(`a connection was closed with ${closeCode} for messages that are JSON objects`);
    // Each of these costs a connection, so not all that come up are sent.
    const broken = texts.filter((text) => objectIn(text) === undefined);
    await Promise.all(broken.slice(0, BROKEN_MAX).map((text) => converse([text])));
  }
  return tally;
}

/** Events of Socket.IO, and packets that break its protocol or the engine's. */
export async function fuzzSocketIo(
  { base, token }: FuzzTarget,
  count: number,
  random: Random,
): Promise<Tally> {
  const tally = new Tally();
  const messages = new FuzzMessages(random);
  const url = `${base.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`;
  const converse = async (packets: readonly string[]) => {
    const client = await FuzzSocket.open(url, (text) => {
      if (text === "2") client.socket.send("3");
      // An event, or an acknowledgement.
      const [, body] = /^4(?:2\["[\w-]+",|3\d+\[)(.*)\]$/s.exec(text) ?? [];
      if (body !== undefined) tally.answered(body);
    });
    await client.until("0{");
    // The engine forgets what comes before it has said its own first word.
    await client.until("0{");
    client.socket.send(`40${JSON.stringify({ token })}`);
    await client.until('42["welcome"');
    for (const packet of packets) client.socket.send(packet);
    const nonce = `end-${tally.conversations++}-`;
    const ended = client.until(nonce);
    client.socket.send(`42["ping",{"nonce":"${nonce}"}]`);
    await ended.catch((error: unknown) => {
      throw new Error(`after ${packets.slice(-3).join("\n").slice(0, 500)}`, { cause: error });
    });
    tally.sent += packets.length;
    client.socket.terminate();
  };
  while (tally.sent < count) {
    const packets: string[] = [];
    for (let n = 0; n < BATCH; n++) {
      const text = messages.next();
      const type = objectIn(text)?.["type"];
      if (objectIn(text) === undefined) continue;
      const name = typeof type === "string" && !RESERVED.has(type) ? type : "subscribe";
      // The text as it is: `JSON.stringify` has no stack for the deepest ones.
      packets.push(`42${random.chance(0.3) ? n : ""}[${JSON.stringify(name)},${text}]`);
    }
    await converse(packets);
    // Each of these may end the session.
    const broken = Array.from({ length: BROKEN_MAX }, () => hostilePacket(messages.next(), random));
    await Promise.all(broken.map((packet) => converse([packet])));
  }
  return tally;
}

/** The library closes the session for an event of such a name. */
const RESERVED = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);

const HTTP_AT_ONCE = 8;
/** A request line and its headers together take no more than 16 KiB. */
const URL_MAX = 12_000;

/** Messages as URLs of streams and polls; now and then no URL of a message at all. */
export async function fuzzHttp(
  { base, token }: FuzzTarget,
  path: "/v1/sse" | "/v1/poll",
  count: number,
  random: Random,
): Promise<Tally> {
  const tally = new Tally();
  const messages = new FuzzMessages(random);
  const agent = new Agent({ keepAlive: true, maxSockets: HTTP_AT_ONCE });
  const askOne = async () => {
    const url = urlFrom(messages.next(), path, random);
    const { status, text } = await ask(`${base}${url}`, token, agent);
    tally.sent++;
    tally.answered(text === "" ? JSON.stringify({ type: String(status) }) : text);
    if (status >= 500 && status !== 503) tally.internal.push(`${status} ${url} ${text}`);
  };
  const worker = async () => {
    while (tally.sent < count) await askOne();
  };
  await Promise.all(Array.from({ length: HTTP_AT_ONCE }, worker));
  agent.destroy();
  return tally;
}

function urlFrom(text: string, path: string, random: Random): string {
  const encode = (value: string) => encodeURIComponent(value.replaceAll(/[\ud800-\udfff]/g, "\ufffd"));
  const message = objectIn(text) ?? {};
  const parameters = [
    "collection",
    "filter",
    "fields",
    "sort",
    "limit",
    "snapshot",
    "cursor",
    "ticket",
    "values",
  ]
    .filter((name) => Object.hasOwn(message, name) || (name === "collection" && random.chance(0.9)))
    .map((name) => {
      const value = message[name] ?? "notes";
      return `${name}=${encode(typeof value === "string" ? value : jsonOf(value))}`;
    });
  // Half an escape, an escape of no character, a part twice: as they come.
  if (random.chance(0.05))
    parameters.push(random.pick(["%", "%zz=1", "%ff=%c0", "filter=[", "limit=1", "a=%00", "key=x"]));
  // First, because the end of a long URL is cut off.
  const wait = path === "/v1/poll" ? ["wait=0"] : [];
  return `${path}?${[...wait, ...parameters].join("&")}`.slice(0, URL_MAX);
}

/** `JSON.stringify` has no stack for the deepest values, and a URL no room. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "null";
  } catch {
    return `{"a":${"[".repeat(2_000)}${"]".repeat(2_000)}}`;
  }
}

/** The status, and the body where it is one answer; a stream is left once it has begun. */
async function ask(url: string, token: string, agent: Agent): Promise<{ status: number; text: string }> {
  const headers = { Authorization: `Bearer ${token}` };
  const sent = request(url, { agent, headers });
  sent.setTimeout(2 * PATIENCE_MS, () => sent.destroy(new Error(`no answer: ${url.slice(0, 500)}`)));
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  const status = response.statusCode ?? 0;
  if (String(response.headers["content-type"]).startsWith("text/event-stream")) {
    sent.on("error", () => {});
    response.on("error", () => {});
    response.destroy();
    return { status, text: "" };
  }
  let text = "";
  response.setEncoding("utf8");
  for await (const part of response) text += part;
  return { status, text };
}

/** A push service on loopback: keeps the requests, and answers as the test says. */
import { createECDH, type ECDH, randomBytes } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import ece from "http_ece";
import { expect, onTestFinished } from "vitest";

/** A `PushSubscription` as a browser writes it as JSON. */
export interface SubscriptionJson {
  readonly endpoint: string;
  readonly expirationTime: null;
  readonly keys: { readonly p256dh: string; readonly auth: string };
}

/** A request, decrypted with the keys of the browser by the reference implementation of RFC 8188. */
export interface ReceivedPush {
  readonly browser: string;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: number;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly status: number;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** How long an answer takes at most. Tests that hold one give it back. */
type Decide = (received: Omit<ReceivedPush, "status">) => Answer | Promise<Answer>;

export class PushEndpoint {
  readonly url: string;
  readonly received: ReceivedPush[] = [];
  readonly #keys = new Map<string, { ecdh: ECDH; auth: string }>();
  #decide: Decide = () => ({ status: 201 });

  private constructor(url: string) {
    this.url = url;
  }

  static async start(): Promise<PushEndpoint> {
    const server = createServer((request, response) => {
      endpoint.#take(request).then(
        ({ status, headers = {} }) => response.writeHead(status, headers).end(),
        (error: unknown) => response.destroy(error as Error),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    const endpoint = new PushEndpoint(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return endpoint;
  }

  /** From now on answers are what `decide` says. */
  answerBy(decide: Decide): void {
    this.#decide = decide;
  }

  /** The subscription of another browser. */
  subscription(browser = randomBytes(8).toString("hex")): SubscriptionJson {
    const ecdh = createECDH("prime256v1");
    const p256dh = ecdh.generateKeys("base64url");
    const auth = randomBytes(16).toString("base64url");
    this.#keys.set(browser, { ecdh, auth });
    return { endpoint: `${this.url}/${browser}`, expirationTime: null, keys: { p256dh, auth } };
  }

  /** The payloads that were accepted for a browser. */
  accepted(browser?: string): Readonly<Record<string, unknown>>[] {
    return this.received
      .filter((push) => push.status < 300 && (browser === undefined || push.browser === browser))
      .map(({ payload }) => payload);
  }

  /** Waits until a browser was sent a payload that matches. */
  async until(fits: (payload: Readonly<Record<string, unknown>>) => boolean): Promise<void> {
    await expect.poll(() => this.accepted().some(fits)).toBe(true);
  }

  async #take(request: IncomingMessage): Promise<Answer> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const browser = (request.url ?? "").slice(1);
    const keys = this.#keys.get(browser);
    if (keys === undefined) return { status: 404 };
    const plain = ece.decrypt(body, { version: "aes128gcm", privateKey: keys.ecdh, authSecret: keys.auth });
    const payload = JSON.parse(plain.toString());
    const push = { browser, headers: request.headers, bytes: body.length, payload };
    const answer = await this.#decide(push);
    this.received.push({ ...push, status: answer.status });
    return answer;
  }
}

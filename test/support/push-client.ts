/** A user's requests to `/v1/push`. */
import type { SubscriptionJson } from "./push-endpoint.ts";
import { signToken } from "./service.ts";

export interface PushAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface RegisterOptions {
  readonly collection?: string;
  readonly filter?: Record<string, unknown>;
  readonly on?: readonly string[];
  readonly data?: unknown;
}

export class PushClient {
  readonly #base: () => string;
  readonly #token: Promise<string>;

  /** @param base Of the service, `http://host:port`; it may change when the service restarts. */
  constructor(base: () => string, claims: Record<string, unknown>, expiresInSeconds?: number) {
    this.#base = base;
    this.#token = signToken({ iat: Math.floor(Date.now() / 1_000), ...claims }, expiresInSeconds);
  }

  async ask(method: string, path: string, body?: unknown): Promise<PushAnswer> {
    const response = await fetch(`${this.#base()}${path}`, {
      method,
      headers: { authorization: `Bearer ${await this.#token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? {} : JSON.parse(text) };
  }

  register(push: SubscriptionJson, options: RegisterOptions = {}): Promise<PushAnswer> {
    return this.ask("POST", "/v1/push", { collection: "orders", push, ...options });
  }

  /** Registers, and returns the id. */
  async registered(push: SubscriptionJson, options: RegisterOptions = {}): Promise<string> {
    const { status, body } = await this.register(push, options);
    if (status !== 201) throw new Error(`refused: ${status} ${JSON.stringify(body)}`);
    return String(body["id"]);
  }

  async list(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    return (await this.ask("GET", "/v1/push")).body["registrations"] as Record<string, unknown>[];
  }

  remove(id: string): Promise<PushAnswer> {
    return this.ask("DELETE", `/v1/push/${id}`);
  }
}

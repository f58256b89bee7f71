import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { RateLimit } from "../gateway/connection/rate-limit.ts";
import { HostNames } from "../gateway/http/host-names.ts";
import type { AdminOptions } from "../gateway/options.ts";

/** The requirement of a path of the admin listener. */
export type Need = "metrics" | "token";

/** The label of `tidewire_admin_refused_total`. */
export type AdminRefusalReason = "host" | "origin" | "token" | "token-rate";

/** The answer to a request that may not reach the admin listener. */
export interface AdminRefusal {
  readonly reason: AdminRefusalReason;
  readonly status: 401 | 403 | 421 | 429;
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** How many requests without the right token are answered at once, and how many per second over time. */
const WRONG_TOKENS = { rate: 1, burst: 20 };

/** Decides whether a request to the admin listener may have what it asks for. */
export class AdminAccess {
  readonly #hosts: HostNames;
  readonly #digest: Buffer | null;
  readonly #protectMetrics: boolean;
  readonly #wrongTokens: RateLimit;

  constructor({ hosts, token = "", protectMetrics }: AdminOptions, nowMs: number) {
    this.#hosts = new HostNames(hosts);
    this.#digest = token === "" ? null : digestOf(token);
    this.#protectMetrics = protectMetrics;
    this.#wrongTokens = new RateLimit(WRONG_TOKENS.rate, WRONG_TOKENS.burst, nowMs);
  }

  /** Whether the request was made under a name of this listener, and by no page of another origin. */
  refuseHost({ headers }: IncomingMessage): AdminRefusal | null {
    const { host, origin } = headers;
    if (!this.#hosts.includes(host)) {
      const text = "this listener is not asked under that name: list the name in server.admin.hosts";
      return { reason: "host", status: 421, text };
    }
    const site = headers["sec-fetch-site"];
    const isOwnPage = origin === undefined || /^https?:\/\/(.+)$/.exec(origin)?.[1] === host;
    if (isOwnPage && (site === undefined || site === "same-origin" || site === "none")) return null;
    return { reason: "origin", status: 403, text: "web pages of another origin may not ask this" };
  }

  /** Whether the request brings what the path needs. */
  refuse(request: IncomingMessage, need: Need, nowMs: number): AdminRefusal | null {
    const refusal = this.refuseHost(request);
    if (refusal !== null) return refusal;
    if (need === "metrics" && !this.#protectMetrics) return null;
    if (this.#digest === null) {
      const text =
        "this needs a token, and none is set: set server.admin.token (openssl rand -hex 32 makes one), restart, and " +
        "send it as Authorization: Bearer TOKEN";
      return { reason: "token", status: 403, text };
    }
    const [, token] = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? "") ?? [];
    // Digests have one length, so the comparison takes the same time for every token.
    if (token !== undefined && timingSafeEqual(digestOf(token), this.#digest)) return null;
    return this.#refuseToken(token, nowMs);
  }

  /**
   * The right token is accepted however many wrong ones came, because an attacker must not be able to lock the admin
   * out.
   */
  #refuseToken(token: string | undefined, nowMs: number): AdminRefusal {
    if (!this.#wrongTokens.take(1, nowMs)) {
      const seconds = Math.max(1, Math.ceil(this.#wrongTokens.waitMs(1) / 1_000));
      const text = "too many requests without the right token: wait";
      return { reason: "token-rate", status: 429, text, headers: { "retry-after": String(seconds) } };
    }
    const text =
      token === undefined
        ? "this needs the token of server.admin.token, sent as Authorization: Bearer TOKEN"
        : "this is not the token of server.admin.token";
    return { reason: "token", status: 401, text, headers: { "www-authenticate": "Bearer" } };
  }
}

const digestOf = (token: string): Buffer => createHash("sha256").update(token).digest();

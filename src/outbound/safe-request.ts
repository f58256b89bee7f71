/**
 * Sends one HTTP request to a receiver outside of the operator's control, such as a webhook or a push service. The
 * receiver must not be able to reach a private network through the service, to keep it waiting, or to fill its memory:
 * addresses are checked when the connection is made, redirects are not followed, and time and answer are bounded.
 */
import { setMaxListeners } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import { isIP } from "node:net";
import { BoundedHttpAgent, BoundedHttpsAgent } from "./bounded-agents.ts";
import { isPublicAddress } from "./public-address.ts";
import { checkedLookup, PrivateAddressError, publicResolver, type Resolve } from "./resolve-public.ts";

/** A request, complete with its body. */
export interface SafeRequest {
  readonly url: URL;
  readonly method: "POST" | "PUT";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string;
  /** For the whole exchange, from the look-up of the name to the end of the answer. */
  readonly timeoutMs: number;
  /** Permits `http:` and addresses that are not public. */
  readonly allowPrivate: boolean;
  readonly signal: AbortSignal;
}

/** The receiver's answer. */
export interface SafeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** At most 1 KiB, for the log of a refusal. */
  readonly excerpt: string;
}

/** Why no answer arrived. */
export type RequestFailure = "timeout" | "aborted" | "not-sent" | "failed";

/** No answer arrived. The text contains neither the URL nor a header. */
export class RequestFailedError extends Error {
  override readonly name = "RequestFailedError";
  readonly failure: RequestFailure;

  constructor(failure: RequestFailure, text: string, options?: ErrorOptions) {
    super(text, options);
    this.failure = failure;
  }
}

/** The most bytes of headers of an answer. */
const HEADER_BYTES = 16_384;

/** The most bytes of a body that are read, so that the connection can be kept. A larger one closes it. */
const BODY_BYTES = 65_536;

/** The most bytes of a body that are returned. */
const EXCERPT_BYTES = 1_024;

/** The receiver has closed a kept connection in the moment in which the request took it. A repetition may succeed. */
const STALE = Symbol("stale");
const STALE_CODES: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE"]);

/** The parts of a sender that tests replace. */
export interface SenderParts {
  readonly resolve: Resolve;
  readonly isPublic: (address: string) => boolean;
  /** Certificates to trust instead of those of the system. */
  readonly ca?: string;
}

/** Sends requests, and keeps connections for the next ones. */
export class SafeSender {
  readonly #isPublic: (address: string) => boolean;
  readonly #checked: https.Agent;
  readonly #unchecked: https.Agent;
  readonly #plain: http.Agent;

  constructor({ resolve, isPublic, ca }: SenderParts) {
    this.#isPublic = isPublic;
    const trust = ca === undefined ? {} : { ca };
    // Agents of their own, so that no checked request uses a connection that was made without the check.
    this.#checked = new BoundedHttpsAgent({ ...trust, lookup: checkedLookup(resolve, isPublic) });
    this.#unchecked = new BoundedHttpsAgent(trust);
    this.#plain = new BoundedHttpAgent();
  }

  /**
   * Sends one request. Redirects are answers like all others.
   * @throws {PrivateAddressError | RequestFailedError}
   */
  async send(request: SafeRequest): Promise<SafeAnswer> {
    this.#check(request);
    const agent = this.#agentFor(request);
    const endsAtMs = performance.now() + request.timeoutMs;
    const answer = await exchange(request, agent, endsAtMs);
    if (answer !== STALE) return answer;
    const second = await exchange(request, agent, endsAtMs);
    if (second === STALE) throw new RequestFailedError("failed", "the receiver closes kept connections");
    return second;
  }

  #check({ url, allowPrivate }: SafeRequest): void {
    const isKnown = url.protocol === "https:" || (allowPrivate && url.protocol === "http:");
    if (!isKnown) throw new RequestFailedError("not-sent", "the URL is not https");
    if (url.username !== "" || url.password !== "")
      throw new RequestFailedError("not-sent", "the URL contains a user or a password");
    if (allowPrivate) return;
    // Sockets look up names only. An address, which URL has normalized, reaches no look-up.
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    if (isIP(host) !== 0 && !this.#isPublic(host)) throw new PrivateAddressError(host);
  }

  #agentFor({ url, allowPrivate }: SafeRequest): http.Agent {
    if (!allowPrivate) return this.#checked;
    return url.protocol === "https:" ? this.#unchecked : this.#plain;
  }
}

/** Sends the request once. */
function exchange(
  request: SafeRequest,
  agent: http.Agent,
  endsAtMs: number,
): Promise<SafeAnswer | typeof STALE> {
  const { url, method, headers, body, signal, timeoutMs } = request;
  return new Promise((resolve, reject) => {
    let outgoing: http.ClientRequest;
    try {
      const sized = { ...headers, "content-length": Buffer.byteLength(body) };
      const options = { method, headers: sized, agent, maxHeaderSize: HEADER_BYTES };
      outgoing = (url.protocol === "https:" ? https : http).request(url, options);
    } catch (cause) {
      reject(new RequestFailedError("not-sent", "the request has an invalid header", { cause }));
      return;
    }
    const stop = (failure: RequestFailure, text: string) =>
      outgoing.destroy(new RequestFailedError(failure, text));
    const expire = selfGuarded(reject, () => stop("timeout", `no complete answer within ${timeoutMs} ms`));
    const timer = setTimeout(expire, endsAtMs - performance.now());
    const cancel = () => stop("aborted", "the request was cancelled");
    // Many requests at the same time may have one signal. Node would take their listeners for a leak.
    setMaxListeners(0, signal);
    signal.addEventListener("abort", cancel, { once: true });
    const release = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", cancel);
    };
    let hasStatus = false;
    const take = selfGuarded(reject, (incoming: http.IncomingMessage) => {
      hasStatus = true;
      // Once the status is known, an end of the connection in the middle of the body does not change it.
      readAnswer(incoming, reject, (answer) => {
        release();
        resolve(answer);
      });
    });
    outgoing.once("response", take);
    const fail = selfGuarded(reject, (error: NodeJS.ErrnoException) => {
      if (hasStatus) return;
      release();
      if (outgoing.reusedSocket && STALE_CODES.has(error.code)) resolve(STALE);
      else reject(toFailure(error));
    });
    outgoing.on("error", fail);
    // An answer that switches protocols closes the connection without an error.
    const end = selfGuarded(reject, () =>
      fail(new RequestFailedError("failed", "the connection was closed")),
    );
    outgoing.once("close", end);
    if (signal.aborted) cancel();
    else outgoing.end(body);
  });
}

function toFailure(error: NodeJS.ErrnoException): Error {
  if (error instanceof RequestFailedError || error instanceof PrivateAddressError) return error;
  return new RequestFailedError("failed", `no answer (${error.code ?? error.name})`, { cause: error });
}

/** Makes a listener whose errors reject the promise of the caller. */
function selfGuarded<A extends readonly unknown[]>(
  reject: (error: unknown) => void,
  run: (...args: A) => void,
): (...args: A) => void {
  return (...args) => {
    try {
      run(...args);
    } catch (error) {
      reject(error);
    }
  };
}

function readAnswer(
  incoming: http.IncomingMessage,
  reject: (error: unknown) => void,
  done: (answer: SafeAnswer) => void,
): void {
  const kept: Buffer[] = [];
  let bytes = 0;
  const take = selfGuarded(reject, (chunk: Buffer) => {
    if (bytes < EXCERPT_BYTES) kept.push(chunk.subarray(0, EXCERPT_BYTES - bytes));
    bytes += chunk.length;
    if (bytes > BODY_BYTES) incoming.destroy();
  });
  incoming.on("data", take);
  incoming.on("error", () => {}); // "close" follows
  const end = selfGuarded(reject, () => {
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(incoming.headers))
      if (typeof value === "string") headers[name] = value;
    // Control characters could change the look of a log in a terminal.
    const excerpt = Buffer.concat(kept)
      .toString("utf8")
      .replace(/\p{Cc}+/gu, " ")
      .trim();
    done({ status: incoming.statusCode ?? 0, headers, excerpt });
  });
  incoming.once("close", end);
}

const sender = new SafeSender({ resolve: publicResolver(), isPublic: isPublicAddress });

/**
 * Sends one request to a public address. Redirects are not followed.
 * @throws {PrivateAddressError | RequestFailedError}
 */
export async function safeRequest(request: SafeRequest): Promise<SafeAnswer> {
  return sender.send(request);
}

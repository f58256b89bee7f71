import type { AnswerOf, SentTo } from "../../admin/api/endpoints.ts";
import { ApiFailure, NoAnswer } from "./failures.ts";
import { ROUTES, type Used } from "./routes.ts";
import { urlOf } from "./url-of.ts";

const API = "/api/v1";
const CSRF_HEADER = "x-tidewire-csrf";

/** Options of one request. */
interface CallOptions {
  readonly signal?: AbortSignal;
  /** Sent in place of the session. */
  readonly token?: string;
}

/** Calls the endpoints of the node that served this page. */
export class ApiClient {
  #csrf: string | null = null;
  readonly #onSessionEnded: () => void;

  /** @param onSessionEnded An endpoint has refused a request because there is no session any more. */
  constructor(onSessionEnded: () => void) {
    this.#onSessionEnded = onSessionEnded;
  }

  /** Proof of the page for every request that changes something. */
  setCsrf(csrf: string | null): void {
    this.#csrf = csrf;
  }

  /**
   * @throws {ApiFailure} The endpoint refused the request.
   * @throws {NoAnswer} The node cannot be reached.
   */
  async call<O extends Used>(
    operation: O,
    fields: SentTo<O>,
    { signal, token }: CallOptions = {},
  ): Promise<AnswerOf<O>> {
    const [method, path] = ROUTES[operation];
    const { url, rest } = urlOf(API + path, method === "GET", fields);
    const isText = typeof rest === "string";
    const response = await reach(url, {
      method,
      headers: {
        ...(rest === null ? {} : { "content-type": isText ? "text/plain" : "application/json" }),
        ...(this.#csrf === null ? {} : { [CSRF_HEADER]: this.#csrf }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(rest === null ? {} : { body: isText ? rest : JSON.stringify(rest) }),
      ...(signal === undefined ? {} : { signal }),
    });
    const answer = await bodyOf(response);
    if (!isRefusal(answer)) return answer as AnswerOf<O>; // the node has checked its answer with the same schema
    if (answer.code === "token" && operation !== "logIn" && operation !== "whoAmI") this.#onSessionEnded();
    throw new ApiFailure(response.status, answer.code, answer.error);
  }
}

async function reach(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, cache: "no-store", credentials: "same-origin" });
  } catch (cause) {
    if (init.signal?.aborted === true) throw cause;
    throw new NoAnswer({ cause });
  }
}

async function bodyOf(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (cause) {
    // A proxy in front of the node answers with a page of its own while the node is away.
    throw new NoAnswer({ cause });
  }
}

const isRefusal = (answer: unknown): answer is { readonly error: string; readonly code: string } =>
  typeof answer === "object" &&
  answer !== null &&
  "error" in answer &&
  "code" in answer &&
  typeof answer.error === "string" &&
  typeof answer.code === "string";

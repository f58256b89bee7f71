/**
 * Push registrations, for pages: a live query that goes on when the page is closed. This is an entry of its own, so that
 * pages without notifications do not fetch it.
 */
import { TidewireError } from "../protocol/errors.ts";
import type { ErrorMessage } from "../protocol/messages.ts";
import type { Query } from "./query.ts";
import type { TokenProvider } from "./tokens.ts";

export { TidewireError } from "../protocol/errors.ts";
export type { TokenProvider } from "./tokens.ts";

/** How the service is reached. */
export interface PushOptions {
  /** The address of the service, as for `createClient`. */
  readonly url: string | URL;
  /** Returns a token of the user. */
  readonly token: TokenProvider;
  readonly fetch?: typeof fetch;
}

/** The changes of which the user is notified. */
export type PushChange = "added" | "changed" | "removed";

/** The part of a browser's `PushSubscription` that is used. */
export interface PushTarget {
  readonly endpoint: string;
  readonly options: { readonly applicationServerKey: ArrayBuffer | null };
  toJSON(): object;
  unsubscribe(): Promise<boolean>;
}

/** The part of a browser's `ServiceWorkerRegistration` that is used. */
export interface WorkerTarget {
  readonly pushManager: {
    getSubscription(): Promise<PushTarget | null>;
    subscribe(options: {
      readonly userVisibleOnly: boolean;
      readonly applicationServerKey: string;
    }): Promise<PushTarget>;
  };
}

/** Options of a registration besides its query. */
export interface RegisterOptions {
  /** Default: `["added"]`. */
  readonly on?: readonly PushChange[];
  /** Passed to the service worker with each notification: at most 1 KiB as JSON. */
  readonly data?: unknown;
}

/** A registration that was made or renewed. */
export interface Registered {
  readonly id: string;
  /** In epoch milliseconds. Register again before, for example whenever the page is opened. */
  readonly expires: number;
}

/** A registration of the user. */
export interface Registration extends Registered {
  readonly collection: string;
  readonly filter: Record<string, unknown>;
  readonly on: readonly PushChange[];
  readonly endpoint: string;
  readonly data?: unknown;
  /** `suspended`: the rules grant the query no more, and nothing is sent. */
  readonly state: "active" | "suspended";
}

/** The payload of a notification, in the service worker: `event.data.json()`. */
export interface PushPayload {
  readonly title?: string;
  readonly body?: string;
  readonly url?: string;
  readonly data?: unknown;
  readonly collection: string;
  readonly change: PushChange;
  /** The id of the registration. As `tag` of the notification it lets a later one replace an earlier one. */
  readonly registration: string;
}

/** The answer to `GET /v1/push`. */
interface AllRegistrations {
  readonly key: string;
  readonly registrations: readonly Registration[];
}

/** The push registrations of one user. */
export class Push {
  readonly #base: string;
  readonly #token: TokenProvider;
  readonly #fetch: typeof fetch;

  /** @internal */
  constructor({ url, token, fetch = globalThis.fetch }: PushOptions) {
    const base = new URL(url);
    base.protocol = base.protocol.replace("ws", "http");
    this.#base = `${base.href.replace(/[?#].*/, "").replace(/\/$/, "")}/v1/push`;
    this.#token = token;
    // A browser's `fetch` works only as a function of its window.
    this.#fetch = (...request) => fetch(...request);
  }

  /**
   * Notifies the user of changes of a query, also while no page is open. An equal call renews the registration.
   * @param query Of `collection().find()`, without sort, limit, fields or counts.
   * @param target The registration of the service worker, or a subscription of its push manager.
   * @throws {TidewireError} As for a query; `too-many-subscriptions`.
   * @throws {DOMException} The user does not allow notifications.
   */
  async register<T extends object, R>(
    query: Query<T, R>,
    target: WorkerTarget | PushTarget,
    options: RegisterOptions = {},
  ): Promise<Registered> {
    const push = "pushManager" in target ? await this.#subscribe(target.pushManager) : target;
    // The key of a query is its request.
    return this.#ask("POST", "", { ...JSON.parse(query.key), push, ...options }) as Promise<Registered>;
  }

  /** The registrations of the user, on all devices. */
  async list(): Promise<readonly Registration[]> {
    return (await this.#all()).registrations;
  }

  /**
   * Removes a registration. No notification is sent after that.
   * @returns Whether it existed.
   */
  async remove(id: string): Promise<boolean> {
    const answer = await this.#ask("DELETE", `/${encodeURIComponent(id)}`);
    return (answer as { removed: boolean }).removed;
  }

  async #subscribe(manager: WorkerTarget["pushManager"]): Promise<PushTarget> {
    const { key } = await this.#all();
    const present = await manager.getSubscription();
    if (present !== null && keyOf(present) === key) return present;
    // A subscription is bound to the key of the service, which may have been replaced.
    await present?.unsubscribe();
    return manager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  }

  #all(): Promise<AllRegistrations> {
    return this.#ask("GET", "") as Promise<AllRegistrations>;
  }

  async #ask(method: string, path: string, body?: object): Promise<unknown> {
    const token = await this.#token();
    const response = await this.#fetch(this.#base + path, {
      method,
      headers: { Authorization: `Bearer ${token ?? ""}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((cause: unknown) => {
      throw new TidewireError("unavailable", "the service could not be reached", {}, { cause });
    });
    const answer: unknown = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const {
      code = "unavailable",
      message = `HTTP ${response.status}`,
      details = {},
      ...rest
    } = answer as Partial<ErrorMessage>;
    throw new TidewireError(code, message, details, rest);
  }
}

/** The key to which a subscription is bound, in base64url. */
function keyOf({ options: { applicationServerKey } }: PushTarget): string {
  if (applicationServerKey === null) return "";
  const text = btoa(String.fromCharCode(...new Uint8Array(applicationServerKey)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Makes the access to the push registrations of a user. */
export const createPush = (options: PushOptions): Push => new Push(options);

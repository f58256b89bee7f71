/** One connection to the service for all tabs of a user. */
import {
  type Client,
  type ClientOptions,
  createClient,
  type Untyped,
  type WebSocketConstructor,
} from "../client.ts";
import { meetingOfTabs } from "./channel.ts";
import { TabGroup } from "./tab-group.ts";

/** How a client shares its connection. */
export interface TabClientOptions extends ClientOptions {
  /**
   * The user, for example the user's id. Tabs of one scope share a connection, with the token of the tab that leads, so it must
   * differ between users.
   */
  readonly scope: string;
}

const groups = new Map<string, TabGroup>();

/**
 * Makes a client that shares one connection with the clients of all other tabs of the origin with the same `url`, `values` and
 * `scope`. One tab leads, and another one takes over when it ends. In a runtime without tabs it is `createClient`.
 */
export function createTabClient<S extends object = Untyped>({
  scope,
  ...options
}: TabClientOptions): Client<S> {
  const meeting = meetingOfTabs();
  if (meeting === undefined) return createClient(options);
  const { values = "json", initial, devtools, logger, token: _token, persist: _persist, ...rest } = options;
  const mode = typeof values === "string" ? values : values.mode;
  const name = `tidewire ${JSON.stringify([String(options.url), mode, scope])}`;
  const known = groups.get(name);
  const { initial: _initial, devtools: _devtools, ...own } = options;
  const group =
    known ??
    new TabGroup(name, meeting, () => {
      // It connects when the first tab does.
      return createClient({ ...own, values: mode, autoConnect: true });
    });
  groups.set(name, group);
  class Socket {
    constructor() {
      // A constructor may return another object, which is the result of `new`.
      // biome-ignore lint/correctness/noConstructorReturn: as above
      return group.socket();
    }
  }
  return createClient({
    ...rest,
    values,
    initial,
    devtools,
    logger,
    transports: ["ws"],
    WebSocket: Socket as unknown as WebSocketConstructor,
    // Between tabs nothing is expensive.
    reconnect: { attemptsPerMinute: 600 },
  } as ClientOptions);
}

/** One connection to the service for all tabs of a user. */
import {
  type Client,
  type ClientOptions,
  createClient,
  type Untyped,
  type WebSocketConstructor,
} from "../client.ts";
import { meetingOfTabs } from "./channel.ts";
import { type Member, TabGroup } from "./tab-group.ts";

/** How a client shares its connection. */
export interface TabClientOptions extends ClientOptions {
  /**
   * The user, for example the user's id. Tabs of one scope share a connection, with the token of the tab that leads, so it must
   * differ between users.
   */
  readonly scope: string;
  /**
   * How long the leading tab may be silent before another one takes its place, in milliseconds: the browser may have frozen
   * it, or it is busy. At least 1000. Default: 10000.
   */
  readonly leaderSilenceMs?: number;
}

const LEADER_SILENCE_MS = 10_000;
/** A leader that is merely busy for a moment must not be replaced, and each ping costs all tabs a message. */
const LEADER_SILENCE_MIN_MS = 1_000;

/** The groups to which this tab belongs. */
const groups = new Map<string, TabGroup>();

/**
 * Makes a client that shares one connection with the clients of all other tabs of the origin with the same `url`, `values` and
 * `scope`. One tab leads, and another one takes over when it ends. In a runtime without tabs it is `createClient`.
 * @throws {RangeError} `leaderSilenceMs` is too short.
 */
export function createTabClient<S extends object = Untyped>({
  scope,
  leaderSilenceMs = LEADER_SILENCE_MS,
  ...options
}: TabClientOptions): Client<S> {
  if (!(leaderSilenceMs >= LEADER_SILENCE_MIN_MS))
    throw new RangeError(
      `the option \`leaderSilenceMs\` of createTabClient is at least ${LEADER_SILENCE_MIN_MS}, in milliseconds, not ${leaderSilenceMs}`,
    );
  const meeting = meetingOfTabs();
  if (meeting === undefined) return createClient(options);
  const { values = "json", initial, devtools, logger, token, persist: _persist, ...rest } = options;
  const mode = typeof values === "string" ? values : values.mode;
  const name = `tidewire ${JSON.stringify([String(options.url), mode, scope])}`;
  const { initial: _initial, devtools: _devtools, token: _token, ...own } = options;
  const member: Member = {
    token,
    // It connects when the first tab does.
    connect: (current) => createClient({ ...own, token: current, values: mode, autoConnect: true }),
  };
  const join = () => {
    const known = groups.get(name);
    if (known !== undefined) return known;
    const group = new TabGroup(name, meeting, leaderSilenceMs, () => groups.delete(name));
    groups.set(name, group);
    return group;
  };
  class Socket {
    constructor() {
      // A constructor may return another object, which is the result of `new`.
      // biome-ignore lint/correctness/noConstructorReturn: as above
      return join().socket(member);
    }
  }
  const client: Client<S> = createClient({
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
  client.onState(({ status }) => {
    if (status === "connecting") join().use(member);
    else if (status === "idle") groups.get(name)?.rest(member);
    else if (status === "stopped") groups.get(name)?.leave(member);
  });
  return client;
}

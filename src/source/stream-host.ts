/** Chooses the member of a replica set that serves the change stream. */
import { type MongoClientOptions, ReadPreference } from "mongodb";
import type { GuardParts } from "../metrics/guard.ts";
import { answerOf, type MongoAccess } from "./mongo.ts";
import { ReplaceableClient } from "./replaceable-client.ts";

/** How long the choice may take, in milliseconds. It needs one answer of the chosen member. */
const CHOICE_MS = 10_000;
/**
 * After a member was found not to replicate, the primary serves the streams for this long, in milliseconds. By then the driver
 * knows that the member is stale.
 */
const AVOID_MS = 300_000;

/**
 * The driver chooses a server for each command by itself, but a cursor belongs to the member that opened it. So the
 * driver is asked once which member it would choose, and the stream has a direct connection to that one.
 */
export class StreamHost {
  readonly #uri: string;
  readonly #options: MongoClientOptions;
  readonly #preference: ReadPreference | null;
  readonly #parts: GuardParts;
  readonly #onReplaced: (reason: string) => void;
  /** Knows all members, and serves the streams of the primary. */
  readonly #set: ReplaceableClient;
  /**
   * A client for each member that was chosen. They stay, because streams use them: a catch-up for which the driver chooses
   * another member must not close the client of the node's stream.
   */
  readonly #direct = new Map<string, ReplaceableClient>();
  #primaryUntilMs = 0;

  /** @param preference `null` for the primary. */
  constructor(
    uri: string,
    options: MongoClientOptions,
    preference: ReadPreference | null,
    parts: GuardParts,
    onReplaced: (reason: string) => void,
  ) {
    this.#uri = uri;
    this.#options = { ...options, readPreference: "primary" };
    this.#preference = preference;
    this.#parts = parts;
    this.#onReplaced = onReplaced;
    this.#set = new ReplaceableClient(uri, this.#options, parts, onReplaced);
  }

  /** The client for a new change stream. */
  async access(): Promise<MongoAccess> {
    if (this.#preference === null) return this.#set;
    const mustAvoid = performance.now() < this.#primaryUntilMs;
    const readPreference = mustAvoid ? ReadPreference.primary : this.#preference;
    const ask = () => this.#set.db("admin").command({ hello: 1 }, { readPreference });
    const { me } = await answerOf(this.#set, ask, { timeoutMs: CHOICE_MS });
    if (typeof me !== "string") return this.#set; // mongos passes the read preference on
    const known = this.#direct.get(me);
    if (known !== undefined) return known;
    const options = { ...this.#options, ...directOptions(this.#set), directConnection: true };
    const client = new ReplaceableClient(directUri(this.#uri, me), options, this.#parts, this.#onReplaced);
    this.#direct.set(me, client);
    this.#parts.log.info({ member: me }, "a change stream reads from this member");
    return client;
  }

  /**
   * A member does not replicate, and the driver may choose it again. With a preference that allows it, the primary serves the
   * next streams.
   */
  avoidSecondaries(): void {
    if (this.#preference?.mode === "secondary") return;
    this.#primaryUntilMs = performance.now() + AVOID_MS;
  }

  /** Replaces the client of the stream, whatever its state. */
  replace(reason: string): void {
    if (this.#direct.size === 0) this.#set.replace(reason);
    // Not awaited, because a member may not answer any more. The next stream chooses a member again.
    for (const client of this.#direct.values()) client.close().catch(() => {}); // it is not used again
    this.#direct.clear();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#direct.values()].map((client) => client.close()));
    await this.#set.close();
  }
}

/** Options of a connection string that concern the choice of a server, which has been made. */
const CHOOSING =
  /^(directconnection|srvmaxhosts|srvservicename|readpreference.*|maxstalenessseconds|localthresholdms|loadbalanced)$/i;

/** The connection string of one member. User, password and all other options stay. */
export function directUri(uri: string, host: string): string {
  const [, credentials = "", rest = ""] = /^mongodb(?:\+srv)?:\/\/((?:[^@/?]*@)?)[^/?]*(.*)$/.exec(uri) ?? [];
  const [path = "", query = ""] = rest.split("?");
  const kept = query.split("&").filter((pair) => pair !== "" && !CHOOSING.test(pair.split("=")[0] ?? ""));
  return `mongodb://${credentials}${host}${path === "" ? "/" : path}${kept.length === 0 ? "" : `?${kept.join("&")}`}`;
}

/** A `mongodb+srv` connection string gives some options by DNS alone. */
function directOptions({ current }: ReplaceableClient): MongoClientOptions {
  const { srvHost, tls, credentials } = current.options;
  if (srvHost === undefined) return {};
  const authSource = credentials?.source;
  return { tls, ...(authSource === undefined ? {} : { authSource }) };
}

import { isDeepStrictEqual } from "node:util";
import jwt, { type SignOptions } from "jsonwebtoken";
import type { Db, Timestamp } from "mongodb";
import type { ServerMessage } from "../protocol/messages.ts";
import { type FollowEnd, FollowedQuery, type FollowState } from "../terminal/followed-query.ts";
import { COLLECTION } from "./order.ts";
import { View } from "./view.ts";
import type { Viewer } from "./viewers.ts";

const TOKEN_GOOD_FOR = "12h";
/** How often to check whether the rules give a viewer access again. */
const TRY_AGAIN_MS = 1_000;
const FENCE_WITHIN_MS = 15_000;

/**
 * A token of the viewer, signed with HS256 by the library that most backends have. `goodFor` is a duration such as `12h`.
 */
export function signToken(
  viewer: Viewer,
  secret: string,
  goodFor: SignOptions["expiresIn"] & string = TOKEN_GOOD_FOR,
): string {
  return jwt.sign({ ...viewer.claims }, secret, { algorithm: "HS256", expiresIn: goodFor });
}

/** The reports of a watcher to the demo. */
export interface WatcherEvents {
  onMessage(watcher: Watcher, message: ServerMessage): void;
  onState(watcher: Watcher, state: FollowState): void;
  /** No rule gives this viewer access any more. The watcher tries again, because the rules may be edited. */
  onShutOut(watcher: Watcher): void;
  /** The service refused permanently for another reason, which is a bug of the demo. */
  onRefused(watcher: Watcher, why: string): void;
}

/** One viewer at the board: an ordinary client of the service, and its result. */
export class Watcher {
  readonly viewer: Viewer;
  readonly view = new View();
  readonly #url: string;
  readonly #secret: string;
  readonly #events: WatcherEvents;
  #follower: FollowedQuery;
  #timer: NodeJS.Timeout | undefined;
  #isShutOut = false;

  constructor(viewer: Viewer, url: string, secret: string, events: WatcherEvents) {
    this.viewer = viewer;
    this.#url = url;
    this.#secret = secret;
    this.#events = events;
    this.#follower = this.#follow();
  }

  get isShutOut(): boolean {
    return this.#isShutOut;
  }

  /** Whether the result equals that of `find`, once writes have stopped. */
  async equalsFind(db: Db): Promise<boolean> {
    const { operationTime } = await db.command({ ping: 1 });
    await this.#caughtUp(operationTime);
    const { filter, projection } = this.viewer.visible;
    const found = await db.collection(COLLECTION).find(filter).project(projection).sort({ _id: 1 }).toArray();
    return isDeepStrictEqual(this.view.documents, found);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#follower.stop();
  }

  #follow(): FollowedQuery {
    const follower = new FollowedQuery({
      url: this.#url,
      token: async () => signToken(this.viewer, this.#secret),
      hasNewTokens: true,
      request: { collection: COLLECTION },
      onMessage: (message) => {
        if (message.type === "subscribed") this.#isShutOut = false;
        this.#events.onMessage(this, message);
      },
      onState: (state) => this.#events.onState(this, state),
    });
    void follower.ended.then((end) => this.#ended(end));
    return follower;
  }

  #ended(end: FollowEnd): void {
    if (end.why === "stopped") return;
    const isForbidden =
      (end.why === "unsubscribed" && end.reason === "forbidden") ||
      (end.why === "refused" && end.error.code === "forbidden");
    if (!isForbidden) {
      this.#events.onRefused(this, JSON.stringify(end));
      return;
    }
    this.view.clear();
    if (!this.#isShutOut) this.#events.onShutOut(this);
    this.#isShutOut = true;
    this.#timer = setTimeout(() => {
      this.#follower = this.#follow();
    }, TRY_AGAIN_MS);
  }

  /** Waits until every change up to a time has arrived. */
  async #caughtUp(time: Timestamp): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const error = new Error(`${this.viewer.name} received no answer to a fence`);
      timer = setTimeout(() => reject(error), FENCE_WITHIN_MS);
    });
    const { t, i } = time;
    await Promise.race([this.#follower.fence({ t, i }), late]).finally(() => clearTimeout(timer));
  }
}

import { isDeepStrictEqual } from "node:util";
import { SignJWT } from "jose";
import type { Db, Timestamp } from "mongodb";
import { type FollowEnd, Follower, type FollowState } from "../client/follower.ts";
import type { ServerMessage } from "../protocol/messages.ts";
import { openSocket } from "../terminal/open-socket.ts";
import { COLLECTION } from "./order.ts";
import { View } from "./view.ts";
import type { Viewer } from "./viewers.ts";

const TOKEN_GOOD_FOR = "12h";
/** How often to see whether the rules let a viewer in again. */
const TRY_AGAIN_MS = 1_000;
const FENCE_WITHIN_MS = 15_000;

export function signToken(viewer: Viewer, secret: string, goodFor = TOKEN_GOOD_FOR): Promise<string> {
  return new SignJWT({ ...viewer.claims })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuedAt()
    .setExpirationTime(goodFor)
    .sign(new TextEncoder().encode(secret));
}

export interface WatcherEvents {
  onMessage(watcher: Watcher, message: ServerMessage): void;
  onState(watcher: Watcher, state: FollowState): void;
  /** No rule lets this viewer in any more; it is tried again, as the rules may be edited once more. */
  onShutOut(watcher: Watcher): void;
  /** The service refused for another reason, and for good: there is something wrong with the demo. */
  onRefused(watcher: Watcher, why: string): void;
}

/** One viewer at the board: a client of the service like any other, and what it was sent. */
export class Watcher {
  readonly viewer: Viewer;
  readonly view = new View();
  readonly #url: string;
  readonly #secret: string;
  readonly #events: WatcherEvents;
  #follower: Follower;
  #timer: NodeJS.Timeout | undefined;
  #isShutOut = false;
  /** A write that is waited for, and what to do once it has come. */
  #fence: { readonly time: Timestamp; readonly reached: () => void } | undefined;

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

  /** Whether what was sent is what `find` would show, once nothing is written any more. */
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

  #follow(): Follower {
    const follower = new Follower({
      open: (socketEvents) => openSocket(this.#url, socketEvents),
      token: () => signToken(this.viewer, this.#secret),
      request: { collection: COLLECTION },
      onMessage: (message) => {
        // A fence goes with its connection, so the next one is asked again.
        if (message.type === "subscribed") {
          this.#isShutOut = false;
          this.#askFence();
        }
        if (message.type === "fenced") this.#fence?.reached();
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

  /** [3.1, fence] Waits until every change up to a time has come. */
  #caughtUp(time: Timestamp): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = new Error(`${this.viewer.name} had no answer to a fence`);
      const timer = setTimeout(() => reject(late), FENCE_WITHIN_MS);
      const reached = () => {
        clearTimeout(timer);
        this.#fence = undefined;
        resolve();
      };
      this.#fence = { time, reached };
      this.#askFence();
    });
  }

  #askFence(): void {
    if (this.#fence === undefined) return;
    const { t, i } = this.#fence.time;
    this.#follower.send({ type: "fence", id: "written", operationTime: { $timestamp: { t, i } } });
  }
}

import { isDeepStrictEqual } from "node:util";
import { SignJWT } from "jose";
import type { Db, Timestamp } from "mongodb";
import { openSocket } from "../cli/open-socket.ts";
import { Follower, type FollowState } from "../client/follower.ts";
import type { ServerMessage } from "../protocol/messages.ts";
import { COLLECTION } from "./order.ts";
import { View } from "./view.ts";
import type { Viewer } from "./viewers.ts";

const TOKEN_GOOD_FOR = "12h";
const FENCE_WITHIN_MS = 15_000;

export function signToken(viewer: Viewer, secret: string): Promise<string> {
  return new SignJWT({ ...viewer.claims })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuedAt()
    .setExpirationTime(TOKEN_GOOD_FOR)
    .sign(new TextEncoder().encode(secret));
}

export interface WatcherEvents {
  onMessage(watcher: Watcher, message: ServerMessage): void;
  onState(watcher: Watcher, state: FollowState): void;
  /** The service refused for good: there is something wrong with the demo's rules. */
  onRefused(watcher: Watcher, why: string): void;
}

/** One viewer at the board: a client of the service like any other, and what it was sent. */
export class Watcher {
  readonly viewer: Viewer;
  readonly view = new View();
  readonly #follower: Follower;
  /** A write that is waited for, and what to do once it has come. */
  #fence: { readonly time: Timestamp; readonly reached: () => void } | undefined;

  constructor(viewer: Viewer, url: string, secret: string, events: WatcherEvents) {
    this.viewer = viewer;
    this.#follower = new Follower({
      open: (socketEvents) => openSocket(url, socketEvents),
      token: () => signToken(viewer, secret),
      request: { collection: COLLECTION },
      onMessage: (message) => {
        // A fence goes with its connection, so the next one is asked again.
        if (message.type === "subscribed") this.#askFence();
        if (message.type === "fenced") this.#fence?.reached();
        events.onMessage(this, message);
      },
      onState: (state) => events.onState(this, state),
    });
    void this.#follower.ended.then((end) => {
      if (end.why !== "stopped") events.onRefused(this, JSON.stringify(end));
    });
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
    this.#follower.stop();
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

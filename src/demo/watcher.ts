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
  #fences = 0;
  #onFenced: ((id: string) => void) | undefined;

  constructor(viewer: Viewer, url: string, secret: string, events: WatcherEvents) {
    this.viewer = viewer;
    this.#follower = new Follower({
      open: (socketEvents) => openSocket(url, socketEvents),
      token: () => signToken(viewer, secret),
      request: { collection: COLLECTION },
      onMessage: (message) => {
        if (message.type === "fenced") this.#onFenced?.(message.id);
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
  #caughtUp({ t, i }: Timestamp): Promise<void> {
    const id = `fence-${++this.#fences}`;
    return new Promise((resolve, reject) => {
      const late = new Error(`${this.viewer.name} had no answer to a fence`);
      const timer = setTimeout(() => reject(late), FENCE_WITHIN_MS);
      this.#onFenced = (fenced) => {
        if (fenced !== id) return;
        clearTimeout(timer);
        resolve();
      };
      this.#follower.send({ type: "fence", id, operationTime: { $timestamp: { t, i } } });
    });
  }
}

// The parts of browsers that connect the tabs of one origin. The project is compiled without the types of browsers.

/**
 * A message between tabs. `leader` names a term of leadership, so that a tab that led before, and has not noticed its end
 * yet, disturbs nobody.
 */
export type TabMessage =
  /** A tab wants a connection. `isFresh`: its client has begun since its last connection, so it was not refused yet. */
  | { readonly type: "open"; readonly socket: string; readonly tab: string; readonly isFresh: boolean }
  /** The leading tab has accepted it. */
  | { readonly type: "opened"; readonly socket: string; readonly leader: string }
  | { readonly type: "to-leader"; readonly socket: string; readonly leader: string; readonly text: string }
  | { readonly type: "to-tab"; readonly socket: string; readonly leader: string; readonly text: string }
  | { readonly type: "close"; readonly socket: string }
  | {
      readonly type: "closed";
      readonly socket: string;
      readonly leader: string;
      readonly code: number;
      readonly reason: string;
    }
  /** Another tab leads from now on. */
  | { readonly type: "leader"; readonly leader: string }
  /** Asks whether this leader still answers, or any leader. */
  | { readonly type: "ping"; readonly leader: string | undefined }
  | { readonly type: "pong"; readonly leader: string };

/** A channel to all other tabs of the origin. */
export interface Channel {
  onmessage: ((event: { readonly data: TabMessage }) => void) | null;
  postMessage(message: TabMessage): void;
  close(): void;
}

/** Locks that tabs share. A tab that ends releases its locks. */
export interface Locks {
  /** `steal`: takes the lock from its holder, whose promise rejects. It excludes `signal`. */
  request(
    name: string,
    options: { readonly signal?: AbortSignal; readonly steal?: boolean },
    hold: () => Promise<void>,
  ): Promise<void>;
}

/** The means by which tabs find each other. */
export interface Meeting {
  readonly locks: Locks;
  readonly open: (name: string) => Channel;
}

/** The browser's, or `undefined` where there are no tabs. */
export function meetingOfTabs(): Meeting | undefined {
  const { navigator, BroadcastChannel } = globalThis as {
    navigator?: { readonly locks?: Locks };
    BroadcastChannel?: new (name: string) => unknown;
  };
  const locks = navigator?.locks;
  if (locks === undefined || BroadcastChannel === undefined) return undefined;
  return { locks, open: (name) => new BroadcastChannel(name) as Channel };
}

/** A new name, which no other tab has. */
export const newName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(36)).join("");

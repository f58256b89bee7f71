// The parts of browsers that connect the tabs of one origin. The project is compiled without the types of browsers.

/** A message between tabs. */
export type TabMessage =
  /** A tab wants a connection. */
  | { readonly type: "open"; readonly socket: string; readonly tab: string }
  /** The leading tab has accepted it. */
  | { readonly type: "opened"; readonly socket: string }
  | { readonly type: "to-leader" | "to-tab"; readonly socket: string; readonly text: string }
  | { readonly type: "close"; readonly socket: string }
  | { readonly type: "closed"; readonly socket: string; readonly code: number; readonly reason: string }
  /** Another tab leads from now on. */
  | { readonly type: "leader" };

/** A channel to all other tabs of the origin. */
export interface Channel {
  onmessage: ((event: { readonly data: TabMessage }) => void) | null;
  postMessage(message: TabMessage): void;
  close(): void;
}

/** Locks that tabs share. A tab that ends releases its locks. */
export interface Locks {
  request(name: string, options: { readonly signal?: AbortSignal }, hold: () => Promise<void>): Promise<void>;
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

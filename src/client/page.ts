interface Listening {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
}
interface Page extends Listening {
  readonly document?: Listening & { readonly visibilityState?: string };
}

/** Events of the page that matter to a connection. */
export interface PageEvents {
  /** There is a network again, or the page is looked at again: now is a good time. */
  awake(): void;
  /** The network is gone, they say. */
  offline(): void;
  /** The page may never run again. */
  hidden(): void;
}

/** Listens to the page around us; where there is none, nothing is heard. @returns Stops it. */
export function watchPage(events: PageEvents): () => void {
  const page = globalThis as Page; // a browser's window, a worker, or neither
  const { document } = page;
  const visibility = () => (document?.visibilityState === "hidden" ? events.hidden() : events.awake());
  const heard: [Listening | undefined, string, () => void][] = [
    [page, "online", events.awake],
    [page, "offline", events.offline],
    [page, "pagehide", events.hidden],
    // Back from the browser's cache of pages: connections did not survive it.
    [page, "pageshow", events.awake],
    [document, "visibilitychange", visibility],
  ];
  for (const [target, type, listener] of heard) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of heard) target?.removeEventListener?.(type, listener);
  };
}

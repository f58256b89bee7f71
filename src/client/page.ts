interface Listening {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
}
interface Page extends Listening {
  readonly document?: Listening & { readonly visibilityState?: string };
}

/** Events of the page that matter to a connection. */
export interface PageEvents {
  /** The network is back, or the page is visible again, so a connection is likely to succeed. */
  awake(): void;
  /** The browser reports that the network is gone. */
  offline(): void;
  /** The page may never run again. */
  hidden(): void;
}

/**
 * Listens to the events of the page. Outside of pages nothing happens.
 * @returns A function that stops it.
 */
export function watchPage(events: PageEvents): () => void {
  const page = globalThis as Page; // a window, a worker, or a runtime with neither
  const { document } = page;
  const visibility = () => (document?.visibilityState === "hidden" ? events.hidden() : events.awake());
  const heard: [Listening | undefined, string, () => void][] = [
    [page, "online", events.awake],
    [page, "offline", events.offline],
    [page, "pagehide", events.hidden],
    // The page was restored from the browser's cache of pages, which connections do not survive.
    [page, "pageshow", events.awake],
    [document, "visibilitychange", visibility],
  ];
  for (const [target, type, listener] of heard) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of heard) target?.removeEventListener?.(type, listener);
  };
}

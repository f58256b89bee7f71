/** The part of `sessionStorage` that is used. */
interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

interface Page {
  readonly sessionStorage?: Storage;
  addEventListener?(type: string, listener: () => void): void;
}

const KEY = "tidewire-tab";

const random = () => crypto.randomUUID();

/** The tab of this page, for all of its clients. */
let own: string | undefined;

/**
 * Identifies this tab of a browser, over reloads as well. Elsewhere, and where the browser forbids storage, it is another
 * one after each start.
 *
 * The browser copies `sessionStorage` when a user duplicates a tab, and when a page opens a window. So the storage holds
 * the tab only between two pages, and a copy finds none: two tabs with one entry would end it for each other.
 */
export function tabId(): string {
  if (own !== undefined) return own;
  try {
    const page = globalThis as Page;
    const { sessionStorage: storage } = page;
    if (storage === undefined) return random(); // not a page
    const known = storage.getItem(KEY);
    const id = known === null || known === "" ? random() : known;
    const keep = () => storage.setItem(KEY, id);
    const take = () => storage.removeItem(KEY);
    keep(); // a storage that is read-only throws here, and not when the page ends
    take();
    page.addEventListener?.("pagehide", keep);
    // The browser restores a page from its cache without a start of the page.
    page.addEventListener?.("pageshow", take);
    own = id;
    return id;
  } catch {
    return random();
  }
}

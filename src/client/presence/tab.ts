/** The part of `sessionStorage` that is used. */
interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

const KEY = "tidewire-tab";

const random = () => crypto.randomUUID();

/**
 * Identifies this tab of a browser, over reloads as well. Elsewhere, and where the browser forbids storage, it is another
 * one after each start.
 */
export function tabId(): string {
  try {
    const { sessionStorage: storage } = globalThis as { sessionStorage?: Storage }; // other runtimes have none
    const known = storage?.getItem(KEY);
    if (known !== undefined && known !== null && known !== "") return known;
    const id = random();
    storage?.setItem(KEY, id);
    return id;
  } catch {
    return random();
  }
}

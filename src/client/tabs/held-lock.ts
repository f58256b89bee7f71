import type { Locks } from "./channel.ts";

/** Events of a lock. */
export interface HeldLockEvents {
  /** This tab holds the lock. */
  won(): void;
  /** Another tab has stolen the lock. */
  lost(): void;
}

/** A lock that this tab waits for and then holds, until it ends. */
export class HeldLock {
  readonly #locks: Locks;
  readonly #name: string;
  readonly #events: HeldLockEvents;
  #cancel: () => void = () => {};

  constructor(locks: Locks, name: string, events: HeldLockEvents) {
    this.#locks = locks;
    this.#name = name;
    this.#events = events;
  }

  /** Waits for its turn. */
  request(): void {
    const abort = new AbortController();
    this.#ask({ signal: abort.signal }, () => abort.abort());
  }

  /** Takes the lock from its holder. */
  steal(): void {
    this.#ask({ steal: true }, () => {});
  }

  /** Releases the lock, or waits for it no longer. */
  end(): void {
    this.#cancel();
  }

  #ask(options: { signal: AbortSignal } | { steal: true }, abort: () => void): void {
    this.#cancel();
    let isOver = false;
    let isHeld = false;
    let release = abort;
    this.#cancel = () => {
      isOver = true;
      release();
    };
    const hold = async () => {
      if (isOver) return;
      isHeld = true;
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      this.#events.won();
      await held;
    };
    this.#locks.request(this.#name, options, hold).catch((error: unknown) => {
      if ((error as { name?: unknown } | undefined)?.name !== "AbortError") throw error;
      if (isOver || !isHeld) return;
      release();
      this.#events.lost();
    });
  }
}

import { type GuardParts, noteFault } from "../metrics/guard.ts";

/** A registration that may have a push to send. */
export interface Sending {
  /** Sends what is due. @returns Whether more is due now. */
  sendNext(): Promise<boolean>;
  /** An unexpected error has occurred. Never throws. */
  sendingFailed(): void;
}

/**
 * Sends the pushes of all registrations of this process, a limited number at a time, in the order in which they became
 * due. A registration is in the queue at most once, so the queue is bounded by the number of registrations.
 */
export class Sender {
  readonly #concurrency: number;
  readonly #guard: GuardParts;
  readonly #queue = new Set<Sending>();
  #active = 0;

  constructor(concurrency: number, guard: GuardParts) {
    this.#concurrency = concurrency;
    this.#guard = guard;
  }

  /** The number of registrations with a push that waits or is being sent. */
  get size(): number {
    return this.#queue.size + this.#active;
  }

  /** A push of this registration is due. */
  offer(registration: Sending): void {
    this.#queue.add(registration);
    this.#fill();
  }

  /** The registration has ended. */
  forget(registration: Sending): void {
    this.#queue.delete(registration);
  }

  #fill(): void {
    for (const registration of this.#queue) {
      if (this.#active >= this.#concurrency) return;
      this.#queue.delete(registration);
      this.#active++;
      this.#send(registration).catch((error: unknown) => noteFault(this.#guard, "push.queue", error));
    }
  }

  async #send(registration: Sending): Promise<void> {
    try {
      if (await registration.sendNext()) this.#queue.add(registration);
    } catch (error) {
      noteFault(this.#guard, "push.send", error);
      registration.sendingFailed();
    } finally {
      this.#active--;
      this.#fill();
    }
  }
}

import { type GuardParts, noteFault } from "../metrics/guard.ts";
import type { PushOptions } from "./options.ts";

/** A registration that may have a push to send. */
export interface Sending {
  /** The host of the push service. The client has chosen it. */
  readonly host: string;
  /** The user to whom the registration belongs. */
  readonly user: string;
  /** Begins to send a push that is due. @returns Whether another push is due now. */
  sendNext(): Promise<boolean>;
  /** An unexpected error has occurred. Never throws. */
  sendingFailed(): void;
}

/** How many requests may be on their way at a time. */
export type SenderLimits = Pick<PushOptions, "concurrency" | "concurrencyPerHost" | "concurrencyPerUser">;

/** The requests of one host or one user. */
interface Lane {
  readonly most: number;
  active: number;
  /** Registrations that were held back, because `active` was `most`. */
  readonly waiting: Set<Sending>;
}

type By = "host" | "user";

/**
 * Sends the pushes of all registrations of this process, a limited number at a time, in about the order in which they
 * became due. Each host and each user has a part of that number only: clients choose the hosts, and one that answers
 * slowly must not delay the pushes to all others. A registration waits in one queue at most, so the queues are bounded
 * by the number of registrations.
 */
export class Sender {
  readonly #limits: SenderLimits;
  readonly #guard: GuardParts;
  readonly #ready = new Set<Sending>();
  readonly #lanes: Readonly<Record<By, Map<string, Lane>>> = { host: new Map(), user: new Map() };
  /** The queue in which a registration waits. */
  readonly #queues = new Map<Sending, Set<Sending>>();
  #active = 0;

  constructor(limits: SenderLimits, guard: GuardParts) {
    this.#limits = limits;
    this.#guard = guard;
  }

  /** The number of registrations that wait because their host or their user has all of its requests. */
  heldBack(by: By): number {
    let sum = 0;
    for (const { waiting } of this.#lanes[by].values()) sum += waiting.size;
    return sum;
  }

  /** A push of this registration is due. */
  offer(registration: Sending): void {
    if (this.#queues.has(registration)) return;
    this.#enqueue(registration, this.#ready);
    this.#fill();
  }

  /** The registration has ended. */
  forget(registration: Sending): void {
    if (!this.#dequeue(registration)) return;
    // Others may have waited for this one to be looked at.
    this.#pull("host", registration.host);
    this.#pull("user", registration.user);
    this.#fill();
  }

  #fill(): void {
    for (const registration of this.#ready) {
      if (this.#active >= this.#limits.concurrency) return;
      this.#dequeue(registration);
      const { host, user } = registration;
      const [ofHost, ofUser] = [this.#lanes.host.get(host), this.#lanes.user.get(user)];
      if (ofHost !== undefined && isFull(ofHost)) {
        this.#enqueue(registration, ofHost.waiting);
        this.#pull("user", user);
      } else if (ofUser !== undefined && isFull(ofUser)) {
        this.#enqueue(registration, ofUser.waiting);
        this.#pull("host", host);
      } else this.#begin(registration, { host, user });
    }
  }

  #begin(registration: Sending, names: Readonly<Record<By, string>>): void {
    const { concurrencyPerHost, concurrencyPerUser } = this.#limits;
    this.#active++;
    this.#lane("host", names.host, concurrencyPerHost).active++;
    this.#lane("user", names.user, concurrencyPerUser).active++;
    this.#send(registration, names).catch((error: unknown) => noteFault(this.#guard, "push.queue", error));
  }

  async #send(registration: Sending, names: Readonly<Record<By, string>>): Promise<void> {
    let isDue = false;
    try {
      isDue = await registration.sendNext();
    } catch (error) {
      noteFault(this.#guard, "push.send", error);
      registration.sendingFailed();
    } finally {
      this.#active--;
      for (const by of ["host", "user"] as const) {
        const lane = this.#lanes[by].get(names[by]);
        if (lane !== undefined) lane.active--;
        this.#pull(by, names[by]);
      }
      // Behind those that have waited, which would otherwise wait for as long as this one has changes.
      if (isDue) this.#enqueue(registration, this.#ready);
      this.#fill();
    }
  }

  /**
   * Moves one registration of a lane that has room to those that are ready. If the other lane of the registration is
   * full, `fill` takes the next one. Moving all at once would make each end of a request cost as much as the queue is long.
   */
  #pull(by: By, name: string): void {
    const lane = this.#lanes[by].get(name);
    if (lane === undefined || isFull(lane)) return;
    const [next] = lane.waiting;
    if (next !== undefined) {
      lane.waiting.delete(next);
      this.#enqueue(next, this.#ready);
    }
    if (lane.active === 0 && lane.waiting.size === 0) this.#lanes[by].delete(name);
  }

  #lane(by: By, name: string, most: number): Lane {
    const known = this.#lanes[by].get(name);
    if (known !== undefined) return known;
    const lane: Lane = { most, active: 0, waiting: new Set() };
    this.#lanes[by].set(name, lane);
    return lane;
  }

  #enqueue(registration: Sending, queue: Set<Sending>): void {
    queue.add(registration);
    this.#queues.set(registration, queue);
  }

  #dequeue(registration: Sending): boolean {
    this.#queues.get(registration)?.delete(registration);
    return this.#queues.delete(registration);
  }
}

const isFull = ({ active, most }: Lane): boolean => active >= most;

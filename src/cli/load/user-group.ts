import type { WebSocketConstructor } from "../../client/client.ts";
import { TerminalSocket } from "../../terminal/terminal-socket.ts";
import { type Credentials, TokenSource } from "./credentials.ts";
import { LoopWatch } from "./loop-delay.ts";
import { compileScenario, type ScenarioText } from "./scenario.ts";
import { type Interval, Tally, type ThreadFigures } from "./tally.ts";
import { VirtualUser } from "./virtual-user.ts";

const INTERVAL_MS = 1_000;
/** How often a group checks whether everything has arrived at the end. */
const SETTLE_POLL_MS = 50;
/** Connections begin in batches of this length of time, because timers are not more exact. */
const RAMP_STEP_MS = 20;

/** The users of one thread. */
export interface GroupPlan {
  readonly url: string;
  readonly scenario: ScenarioText;
  readonly credentials: Credentials;
  readonly run: string | undefined;
  /** The collection that is written, if the scenario subscribes to it: only its subscriptions must see documents. */
  readonly written: string | undefined;
  /** The numbers of its users. */
  readonly first: number;
  readonly step: number;
  readonly users: number;
  /** New connections per second of this group. */
  readonly perSecond: number;
  /** The share of users that leave and come back, from 0 to 1. */
  readonly leavers: number;
  /** How long such a user stays on average, and how long it is away. */
  readonly stayMs: number;
  readonly awayMs: number;
}

/** Receives the reports of a group. */
export interface GroupEvents {
  interval(interval: Interval): void;
  /** Every user has its first result, or was refused. */
  ramped(): void;
}

/** Virtual users that connect at a given rate, leave and come back. */
export class UserGroup {
  readonly #plan: GroupPlan;
  readonly #tally = new Tally();
  readonly #users: VirtualUser[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #reporting: NodeJS.Timeout | undefined;
  #ramping: NodeJS.Timeout | undefined;
  readonly #loop = new LoopWatch();
  #isFinishing = false;
  #deadlineMs = Number.POSITIVE_INFINITY;

  constructor(plan: GroupPlan) {
    this.#plan = plan;
  }

  start(events: GroupEvents): void {
    const { scenario, credentials, first, step, users, perSecond, run, written, url } = this.#plan;
    const compiled = compileScenario(scenario);
    const tokens = new TokenSource(credentials);
    const WebSocket = countingSocket((bytes) => {
      this.#tally.counts.bytes += bytes;
    });
    let settled = 0;
    const onSettled = () => {
      if (++settled === users) events.ramped();
    };
    const startedAtMs = performance.now();
    const rampStep = () => {
      const due = Math.ceil(((performance.now() - startedAtMs) / 1_000) * perSecond);
      while (this.#users.length < Math.min(users, due)) {
        const i = first + this.#users.length * step;
        const { claims, requests } = compiled.user(i);
        const token = tokens.of(i, claims);
        const user = new VirtualUser(
          { url, token, requests, run, written, WebSocket, onSettled },
          this.#tally,
        );
        this.#users.push(user);
        user.start();
        this.#scheduleLeave(user, i);
      }
      if (this.#users.length >= users) clearInterval(this.#ramping);
    };
    this.#ramping = setInterval(rampStep, RAMP_STEP_MS);
    this.#reporting = setInterval(() => events.interval(this.#tally.takeInterval()), INTERVAL_MS);
    if (users === 0) events.ramped();
  }

  /** Sets the measured part of the run, in epoch milliseconds. */
  measure(fromMs: number, toMs: number): void {
    this.#tally.measure(fromMs, toMs);
    this.#loop.start();
  }

  /** Shortens the wait of `finish`. */
  hurry(withinMs: number): void {
    this.#deadlineMs = Math.min(this.#deadlineMs, performance.now() + withinMs);
  }

  /**
   * Waits until every live subscription has received every write, and ends all users.
   * @param finals The last write of each document.
   * @param withinMs After this time, writes that are still missing are lost.
   */
  async finish(finals: readonly number[], withinMs: number): Promise<ThreadFigures> {
    this.#isFinishing = true;
    clearInterval(this.#ramping);
    for (const timer of this.#timers) clearTimeout(timer);
    for (const user of this.#users) user.return();
    const loopDelay = this.#loop.stop();
    this.hurry(withinMs);
    await this.#settled(finals);
    clearInterval(this.#reporting);
    const sum = (of: (user: VirtualUser) => number) => this.#users.reduce((all, user) => all + of(user), 0);
    this.#tally.counts.lost += sum((user) => user.remaining(finals));
    const figures = this.#tally.figures(
      sum((user) => user.unfinished),
      sum((user) => user.blind),
      sum((user) => (user.isArriving ? 1 : 0)),
      loopDelay,
    );
    for (const user of this.#users) user.end();
    return figures;
  }

  /** Waits until every user has every write, or until the deadline. */
  async #settled(finals: readonly number[]): Promise<void> {
    const lacks = (user: VirtualUser) => !user.isStopped && !user.hasAll(finals);
    // This loop receives the deliveries as well, so that it looks at those users only that lacked something before. At
    // the end it looks at all, because a user may have lost its connection meanwhile.
    let pending = this.#users.filter(lacks);
    while (pending.length > 0 && performance.now() < this.#deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_POLL_MS));
      pending = pending.filter(lacks);
      if (pending.length === 0) pending = this.#users.filter(lacks);
    }
  }

  #scheduleLeave(user: VirtualUser, i: number): void {
    const { leavers, stayMs, awayMs } = this.#plan;
    // Spreads the leavers evenly over the numbers of the users.
    const isLeaver = Math.floor((i + 1) * leavers) > Math.floor(i * leavers);
    if (!isLeaver) return;
    const stay = () =>
      this.#later((0.5 + Math.random()) * stayMs, () => {
        if (user.leave()) {
          this.#later(awayMs, () => {
            user.return();
            stay();
          });
        } else stay();
      });
    stay();
  }

  #later(delayMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#isFinishing) work();
    }, delayMs);
    this.#timers.add(timer);
  }
}

/** A class of sockets that reports the size of each message. */
export function countingSocket(onBytes: (bytes: number) => void): WebSocketConstructor {
  return class extends TerminalSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols, onBytes);
    }
  };
}

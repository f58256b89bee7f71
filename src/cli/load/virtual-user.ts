import { Client, type WebSocketConstructor } from "../../client/client.ts";
import type { Status } from "../../client/status.ts";
import type { Trace } from "../../client/trace.ts";
import type { Change } from "../../client/types.ts";
import { preciseNow } from "../../metrics/precise-now.ts";
import type { ErrorMessage, WelcomeMessage } from "../../protocol/messages.ts";
import { type Mark, readMark } from "./mark.ts";
import type { UserRequest } from "./scenario.ts";
import { SequenceCheck } from "./sequence.ts";
import type { Tally } from "./tally.ts";

/** The identity of a virtual user, and its requests. */
export interface VirtualUserOptions {
  readonly url: string;
  /** Signs a token, or gives the same one again. */
  readonly token: (() => Promise<string>) | undefined;
  readonly requests: readonly UserRequest[];
  /** The run whose deliveries are checked to the end. */
  readonly run: string | undefined;
  readonly WebSocket: WebSocketConstructor;
  /** The collection whose subscriptions must see documents of the run; `undefined`: those of all must. */
  readonly written: string | undefined;
  /** All subscriptions are live for the first time, or the user has ended. */
  readonly onSettled: () => void;
  readonly onWelcome?: (message: WelcomeMessage) => void;
}

type Doc = Record<string, unknown>;

interface Followed {
  readonly check: SequenceCheck;
  /** Whether the writers write to its collection. */
  readonly isWritten: boolean;
  isLive: boolean;
  /** Whether a document of the run was ever part of its result. */
  hasSeen: boolean;
}

/** One user with one connection: the client that applications use, and a check of all that it reports. */
export class VirtualUser {
  readonly #client: Client;
  readonly #tally: Tally;
  readonly #followed: Followed[] = [];
  readonly #options: VirtualUserOptions;
  /**
   * `cut`: its connection ended although it wanted to stay; `away`: it has left for a while; `stopped`: the service has
   * refused it permanently.
   */
  #phase: "arriving" | "present" | "cut" | "returning" | "away" | "stopped" = "arriving";
  #isConnected = false;
  #beganAtMs: number | undefined;
  #attemptAtMs = 0;
  #hasSettled = false;
  #hasFailed = false;
  /** The error that announced the end of the connection, so that the end is not counted again. */
  #lastError: ErrorMessage | undefined;

  constructor(options: VirtualUserOptions, tally: Tally) {
    this.#options = options;
    this.#tally = tally;
    const { url, token, WebSocket } = options;
    this.#client = new Client(
      {
        url,
        transports: ["ws"],
        WebSocket,
        logger: false,
        autoConnect: false,
        ...(token === undefined ? {} : { token }),
      },
      this.#trace(),
    );
    for (const request of options.requests) this.#follow(request);
  }

  /** Whether the service has refused it permanently. */
  get isStopped(): boolean {
    return this.#phase === "stopped";
  }

  /** Whether it is connecting for the first time, and has met no error. */
  get isArriving(): boolean {
    return this.#phase === "arriving" && !this.#hasFailed;
  }

  /** Connects for the first time. */
  start(): void {
    this.#tally.counts.users++;
    this.#beganAtMs = performance.now();
    this.#client.connect();
  }

  /** Ends the connection for a while. @returns `false` if it is not there. */
  leave(): boolean {
    if (this.#phase !== "present") return false;
    this.#phase = "away";
    this.#client.close();
    this.#disconnected();
    return true;
  }

  /** Connects again, and continues where it left off. */
  return(): void {
    if (this.#phase !== "away") return;
    this.#phase = "returning";
    this.#beganAtMs = performance.now();
    this.#client.connect();
  }

  end(): void {
    this.#phase = "stopped";
    this.#client.close();
    this.#disconnected();
  }

  /** Whether all its subscriptions are live and have received every write. */
  hasAll(finals: readonly number[]): boolean {
    return this.#isLive && this.#followed.every(({ check }) => check.hasAll(finals));
  }

  /** How many writes its live subscriptions have not received yet. */
  remaining(finals: readonly number[]): number {
    return this.#followed.reduce((sum, { isLive, check }) => sum + (isLive ? check.remaining(finals) : 0), 0);
  }

  /** Subscriptions that are not live, without those of a user that is still arriving. */
  get unfinished(): number {
    if (this.isArriving) return 0;
    return this.#phase === "stopped"
      ? this.#followed.length
      : this.#followed.filter(({ isLive }) => !isLive).length;
  }

  /** Live subscriptions of the written collection that never had a document of the run in their result. */
  get blind(): number {
    return this.#followed.filter(({ isLive, isWritten, hasSeen }) => isLive && isWritten && !hasSeen).length;
  }

  get #isLive(): boolean {
    return this.#phase !== "stopped" && this.#followed.every(({ isLive }) => isLive);
  }

  #follow({ collection, filter, fields }: UserRequest): void {
    const { run, written } = this.#options;
    const check = new SequenceCheck(run, this.#tally.counts);
    const isWritten = written === undefined || written === collection;
    const followed: Followed = { check, isWritten, isLive: false, hasSeen: false };
    this.#followed.push(followed);
    const all = this.#client.collection<Doc>(collection).find(filter);
    const query = fields === undefined ? all : all.fields(...fields);
    query.subscribe({
      change: (change) => this.#changed(followed, change),
      status: (status) => this.#advanced(followed, status),
      // Errors are counted once per message, in the trace. Without this listener the client would log them.
      error: () => {},
    });
  }

  #changed(followed: Followed, change: Change<Doc>): void {
    const { counts } = this.#tally;
    switch (change.type) {
      case "snapshot": {
        const marks = change.docs.map(readMark).filter((mark) => mark !== undefined);
        counts.snapshotDocuments += change.docs.length;
        if (change.reason !== undefined) counts.resets++;
        followed.hasSeen ||= marks.some((mark) => this.#isOwn(mark));
        followed.check.snapshot(marks, change.reason === "rights-changed");
        break;
      }
      case "removed": {
        const mark = readMark(change.doc);
        if (mark !== undefined) followed.check.removed(mark);
        break;
      }
      default: {
        const mark = readMark(change.doc);
        if (mark === undefined) counts.unmarked++;
        else this.#delivered(followed, mark);
      }
    }
  }

  #delivered(followed: Followed, mark: Mark): void {
    followed.hasSeen ||= this.#isOwn(mark);
    if (!followed.check.change(mark)) return;
    // A user that had left on purpose could not receive. One whose connection was cut has waited for this write.
    const hasWaited = followed.isLive || this.#phase === "present" || this.#phase === "cut";
    if (hasWaited) this.#tally.delivered(mark.at, preciseNow());
    else this.#tally.counts.caughtUp++;
  }

  #isOwn({ run }: Mark): boolean {
    return run === this.#options.run;
  }

  #advanced(followed: Followed, status: Status): void {
    followed.isLive = status === "live";
    if (status === "stopped" && this.#phase !== "away" && this.#phase !== "stopped") {
      this.#tally.counts.stopped++;
      this.#settle();
      // The client is still processing the message that has ended the subscription.
      this.#phase = "stopped";
      queueMicrotask(() => this.end());
    }
    if (!this.#isLive) return;
    const tookMs = performance.now() - (this.#beganAtMs ?? 0);
    if (this.#phase === "arriving") this.#tally.ready(tookMs);
    else if (this.#phase === "returning" || this.#phase === "cut") this.#tally.resumed(tookMs);
    this.#phase = "present";
    this.#settle();
  }

  #settle(): void {
    if (this.#hasSettled) return;
    this.#hasSettled = true;
    this.#options.onSettled();
  }

  #disconnected(): void {
    if (this.#isConnected) this.#tally.counts.connected--;
    this.#isConnected = false;
  }

  #trace(): Trace {
    const { counts } = this.#tally;
    return {
      connecting: () => {
        counts.attempts++;
        this.#attemptAtMs = performance.now();
      },
      message: (message) => {
        if (message.type === "welcome") {
          // A connection that replaces another one, because its node shuts down, was begun earlier.
          if (!this.#isConnected) this.#tally.connected(performance.now() - this.#attemptAtMs);
          this.#isConnected = true;
          this.#options.onWelcome?.(message);
        }
        this.#lastError = undefined;
        if (message.type !== "error") return;
        this.#hasFailed = true;
        if (message.id === undefined) this.#lastError = message;
        this.#tally.error(errorKey(message), message.message);
      },
      cut: (code, reason) => {
        if (this.#isConnected) counts.disconnects++;
        this.#hasFailed = true;
        if (this.#phase === "present") {
          this.#phase = "cut";
          this.#beganAtMs = performance.now();
        }
        this.#disconnected();
        if (this.#lastError === undefined) this.#tally.error(closeKey(code, reason), reason);
        this.#lastError = undefined;
      },
    };
  }
}

/** Groups errors: by their code and, if a limit was reached, by its name. */
function errorKey({ code, details }: ErrorMessage): string {
  const limit = details?.["limit"];
  return typeof limit === "string" ? `${code} ${limit}` : code;
}

/** Groups ends of connections: by the close code, and by the limit, status or system error that the reason names. */
function closeKey(code: number, reason: string): string {
  const [, limit, status, system] = /\blimits\.(\w+)|\bHTTP (\d{3})\b|\b(E[A-Z]{4,})\b/.exec(reason) ?? [];
  const detail = limit ?? (status === undefined ? system : `HTTP ${status}`);
  return detail === undefined ? `close ${code}` : `close ${code} ${detail}`;
}

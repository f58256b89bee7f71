import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { Outage } from "../admin/outage.ts";
import { type GuardParts, guarded } from "../metrics/guard.ts";
import { StartupError } from "../source/startup-error.ts";
import type { ClientListener, Failure, FromWorker, Requests, RequestType, ToWorker } from "./messages.ts";

const WORKER = fileURLToPath(new URL("../worker.js", import.meta.url));

/** The error for a worker that has ended or does not answer. It has refused nothing. */
export class WorkerGone extends Error {
  override readonly name = "WorkerGone";
}

interface Asked {
  settle(gives: unknown): void;
  fail(error: Error): void;
}

/** A worker from the primary's point of view: one process, from its start to its end. */
export class WorkerProcess {
  /** Settles when the process has ended, with how. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #guard: GuardParts;
  readonly #asked = new Map<number, Asked>();
  #lastId = 0;
  /** The connections that the worker has, or that are on their way to it, with what uncounts each. */
  readonly #held = new Map<number, () => void>();
  #hasEnded = false;
  #isUp = false;
  #onHanded: ((taken: boolean) => void) | undefined;

  constructor(guard: GuardParts) {
    this.#guard = guard;
    // Starts the worker in a process group of its own. Ctrl-C in a terminal then reaches only the primary, which ends
    // the workers in order.
    this.#child = fork(WORKER, {
      detached: true,
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    // The channel has no other user.
    const received = guarded(guard, "worker.message", (message) => this.#receive(message as FromWorker));
    this.#child.on("message", received);
    this.ended = new Promise((resolve) => {
      const ended = guarded(guard, "worker.ended", (how: string) => this.#end(how, resolve));
      const failed = guarded(guard, "worker.error", (error: Error) => ended(String(error)));
      const exited = guarded(guard, "worker.exit", (code: number | null, signal: NodeJS.Signals | null) =>
        ended(signal ?? `exit code ${code}`),
      );
      this.#child.once("error", failed);
      this.#child.once("exit", exited);
      // Runs before the end is reported, because messages to the worker are lost from now on.
      this.#child.once(
        "disconnect",
        guarded(guard, "worker.disconnect", () => this.#forsake()),
      );
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get connections(): number {
    return this.#held.size;
  }

  /** Whether the worker has started and serves. */
  get isUp(): boolean {
    return this.#isUp && !this.#hasEnded;
  }

  /** It can take a connection now: one is on its way at a time, so that few are held up by a worker that is busy. */
  get isFree(): boolean {
    return this.isUp && this.#onHanded === undefined;
  }

  noteUp(): void {
    this.#isUp = true;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /**
   * @throws {WorkerGone} It ended, or did not answer within `timeoutMs`.
   * @throws {StartupError} What it was asked for cannot be had; the text is meant for the admin.
   */
  ask<T extends RequestType>(
    request: T,
    value: Requests[T]["with"],
    timeoutMs: number,
  ): Promise<Requests[T]["gives"]> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (this.#hasEnded) return reject(new WorkerGone("the worker has ended"));
      const late = guarded(this.#guard, "worker.late", () =>
        this.#asked.get(id)?.fail(new WorkerGone(`the worker gave no answer within ${timeoutMs} ms`)),
      );
      const timer = setTimeout(late, timeoutMs);
      const over = () => {
        clearTimeout(timer);
        this.#asked.delete(id);
      };
      this.#asked.set(id, {
        settle: (gives) => {
          over();
          resolve(gives as Requests[T]["gives"]); // the answer to this request
        },
        fail: (error) => {
          over();
          reject(error);
        },
      });
      const message: ToWorker = { id, request, with: value };
      this.#child.send(message, (error) => {
        if (error !== null)
          this.#asked.get(id)?.fail(new WorkerGone("the worker has ended", { cause: error }));
      });
    });
  }

  /**
   * Hands a connection over.
   * @param to The listener that has accepted it.
   * @param onEnded Called once the worker has closed the connection, or has ended itself.
   * @returns Whether it was taken; if not, it still is the caller's, and `onEnded` is not called.
   */
  hand(socket: Socket, to: ClientListener, onEnded: () => void): Promise<boolean> {
    const id = ++this.#lastId;
    this.#held.set(id, onEnded);
    return new Promise((resolve) => {
      this.#onHanded = (taken) => {
        this.#onHanded = undefined;
        if (!taken) this.#held.delete(id);
        resolve(taken);
      };
      const message: ToWorker = { connection: id, to };
      // The copy of this process stays open until the worker confirms its own, so that a worker that exits meanwhile
      // does not close the connection.
      this.#child.send(message, socket, { keepOpen: true }, (error) => {
        if (error !== null) this.#forsake();
      });
    });
  }

  #receive(message: FromWorker): void {
    if ("taken" in message) {
      this.#onHanded?.(true);
      return;
    }
    if ("closed" in message) {
      for (const id of message.closed) this.#release(id);
      return;
    }
    const asked = this.#asked.get(message.id);
    if ("gives" in message) asked?.settle(message.gives);
    else {
      asked?.fail(errorOf(message.failed));
    }
  }

  #end(how: string, resolve: (how: string) => void): void {
    this.#forsake();
    resolve(how);
  }

  /** The worker sends nothing more. */
  #forsake(): void {
    this.#hasEnded = true;
    for (const { fail } of [...this.#asked.values()]) fail(new WorkerGone("the worker has ended"));
    this.#onHanded?.(false);
    for (const id of [...this.#held.keys()]) this.#release(id);
  }

  #release(id: number): void {
    const onEnded = this.#held.get(id);
    this.#held.delete(id);
    onEnded?.();
  }
}

/** The error of a worker, with the class that it lost on its way. */
function errorOf({ message, isExpected, outage }: Failure): Error {
  if (isExpected) return new StartupError(message);
  return outage === null ? new Error(message) : new Outage(message, { stillHappen: outage.mayStillHappen });
}

import { TidewireError } from "../../protocol/errors.ts";
import type { Connected } from "../query.ts";
import { clientClosed } from "../to-error.ts";
import { isNetworkFailure } from "./network-failure.ts";

/** How many writes may wait. A page that is offline for long cannot collect them without a limit. */
const WAITING_MAX = 100;
/** The first pause after a failure of the network, in milliseconds. It doubles up to the maximum. */
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 30_000;
/** A backend that cannot be reached in all of these attempts, within some eight minutes, keeps the other writes waiting. */
const ATTEMPTS_MAX = 20;

/** Writes that wait until the client is connected, and then happen in order, one at a time. */
export class WriteQueue {
  readonly #client: Connected;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(client: Connected) {
    this.#client = client;
  }

  /**
   * Runs a write when it is its turn, and again after a failure of the network.
   * @throws {TidewireError} `too-many-requests` if too many writes wait already.
   * @throws The error of the write: any that is no failure of the network, or the last failure of too many.
   */
  add<W>(write: () => Promise<W>): Promise<W> {
    if (this.#waiting >= WAITING_MAX) {
      const text = `${WAITING_MAX} writes wait for a connection already; try again once the client is connected`;
      return Promise.reject(new TidewireError("too-many-requests", text, { limit: WAITING_MAX }));
    }
    this.#waiting++;
    const run = this.#last
      .then(() => this.#run(write))
      .finally(() => {
        this.#waiting--;
      });
    // The failure of one write is for its caller, and does not keep the next one from its turn.
    this.#last = run.catch(() => {});
    return run;
  }

  async #run<W>(write: () => Promise<W>): Promise<W> {
    let pauseMs = PAUSE_MS;
    for (let attempt = 1; ; attempt++) {
      await this.#connected();
      try {
        return await write();
      } catch (error) {
        // Any other error is an answer, or a mistake in the program.
        if (!isNetworkFailure(error) || attempt === ATTEMPTS_MAX) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      pauseMs = Math.min(PAUSE_MAX_MS, pauseMs * 2);
    }
  }

  #connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      let stop: (() => void) | undefined;
      let isSettled = false;
      stop = this.#client.onState(({ status, error }) => {
        if (status !== "connected" && status !== "stopped") return;
        if (status === "connected") resolve();
        else reject(error ?? clientClosed());
        isSettled = true;
        stop?.();
      });
      if (isSettled) stop();
    });
  }
}

import type { OperationTime } from "../fences.ts";
import type { Connected } from "../query.ts";

interface Waiting {
  readonly time: readonly [t: number, i: number];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The service lets 16 fences of a connection wait. The application may need some of its own. */
const SENT_MAX = 8;

/** Many writes at once, over few fences: beyond a limit, those that wait share one, which is that of the last write. */
export class FenceGate {
  readonly #client: Connected;
  #sent = 0;
  #waiting: Waiting[] = [];

  constructor(client: Connected) {
    this.#client = client;
  }

  /** Settles once the queries show everything written up to then. */
  pass(operationTime: OperationTime): Promise<void> {
    const { t, i } = "$timestamp" in operationTime ? operationTime.$timestamp : operationTime;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ time: [t, i], resolve, reject });
      this.#send();
    });
  }

  #send(): void {
    if (this.#sent >= SENT_MAX || this.#waiting.length === 0) return;
    const together = this.#waiting;
    this.#waiting = [];
    const [t, i] = together.map(({ time }) => time).reduce((a, b) => (isLater(b, a) ? b : a));
    this.#sent++;
    const settle = (how: (waiting: Waiting) => void) => {
      this.#sent--;
      for (const waiting of together) how(waiting);
      this.#send();
    };
    this.#client.fence({ t, i }).then(
      () => settle(({ resolve }) => resolve()),
      (error) => settle(({ reject }) => reject(error)),
    );
  }
}

const isLater = ([t, i]: Waiting["time"], [otherT, otherI]: Waiting["time"]) =>
  t > otherT || (t === otherT && i > otherI);

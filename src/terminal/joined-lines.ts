/**
 * Writes the lines that are logged in one turn of the event loop together. A line for each new connection would otherwise
 * be a system call of its own, which is an eighth of the cost of a new client.
 */
import { type DestinationStream, symbols } from "pino";

/** The level of errors in pino. */
const ERROR = 50;
/** With more than this, in characters, lines are not held back. */
const HELD_MAX = 65_536;

/** Holds lines until the end of the turn. Errors are written at once, with everything before them. */
export class JoinedLines implements DestinationStream {
  /** Makes pino set `lastLevel` before each line. */
  readonly [symbols.needsMetadataGsym] = true;
  lastLevel = 0;
  readonly #write: (text: string) => void;
  #held = "";

  /** @param write Writes text at once. */
  constructor(write: (text: string) => void) {
    this.#write = write;
    // Also after an uncaught exception. No turn follows then.
    process.once("exit", () => this.flush());
  }

  write(line: string): void {
    if (this.#held === "") setImmediate(() => this.flush());
    this.#held += line;
    if (this.lastLevel >= ERROR || this.#held.length > HELD_MAX) this.flush();
  }

  flush(): void {
    const text = this.#held;
    if (text === "") return;
    this.#held = "";
    this.#write(text);
  }
}

import type { WriteStream } from "node:tty";

/** Control sequences of ECMA-48 and of the VT series, which every terminal emulator has. */
const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";
/** Cuts a line that is too long. Continuing it on the next row would spoil the picture. */
const NO_WRAP = "\x1b[?7l";
const WRAP = "\x1b[?7h";
const ERASE_LINE = "\x1b[2K";
const ERASE_ALL = "\x1b[2J\x1b[H";

/** Draws the same lines again and again in place, below what was printed before. */
export class Terminal {
  readonly #output: WriteStream;
  #drawn = 0;

  constructor(output: WriteStream) {
    this.#output = output;
    output.write(HIDE_CURSOR);
    output.on("resize", this.#startOver);
  }

  get size(): { width: number; height: number } {
    // One row stays free: writing into the last one would scroll.
    return { width: this.#output.columns, height: this.#output.rows - 1 };
  }

  draw(lines: readonly string[]): void {
    const up = this.#drawn > 1 ? `\x1b[${this.#drawn - 1}A` : "";
    const text = lines.map((line) => `\r${ERASE_LINE}${line}`).join("\n");
    this.#output.write(`${up}${NO_WRAP}${text}${WRAP}`);
    this.#drawn = lines.length;
  }

  /** Restores the terminal. The last picture stays. */
  end(): void {
    this.#output.off("resize", this.#startOver);
    this.#output.write(`\n${SHOW_CURSOR}`);
  }

  /** The terminal has wrapped the lines again, so their positions are unknown. */
  readonly #startOver = () => {
    this.#output.write(ERASE_ALL);
    this.#drawn = 0;
  };
}

import type { ServerMessage } from "../protocol/messages.ts";
import type { FollowState } from "../terminal/followed-query.ts";
import type { Io } from "../terminal/io.ts";
import { paintWith } from "../terminal/paint.ts";
import { ChangeLog } from "./change-log.ts";
import { drawScreen, timeOf } from "./screen.ts";
import { Terminal } from "./terminal.ts";
import type { Watcher } from "./watcher.ts";

/** The place where the demo draws. */
export interface Show {
  message(watcher: Watcher, message: ServerMessage): void;
  state(watcher: Watcher, state: FollowState): void;
  note(text: string): void;
  end(): void;
}

/** A line for each change, for logs and pipes: time, viewer, mark, document. */
export class PlainShow implements Show {
  readonly #io: Io;

  constructor(io: Io) {
    this.#io = io;
  }

  message(watcher: Watcher, message: ServerMessage): void {
    const { name } = watcher.viewer;
    const nowMs = this.#io.now();
    const applied = watcher.view.take(message, nowMs);
    const line = (mark: string, text: string) =>
      this.#io.out(`${timeOf(nowMs)} ${name.padEnd(4)} ${mark} ${text}`);
    if (applied !== undefined) line(applied.mark, JSON.stringify(applied.after ?? { _id: applied.id }));
    if (message.type === "subscribed") line("*", `${message.start}${message.reason ?? ""}`);
    if (message.type === "reset") line("*", "reset");
    if (message.type === "snapshot") for (const doc of message.docs) line("=", JSON.stringify(doc));
  }

  state(watcher: Watcher, state: FollowState): void {
    if (state.is === "waiting") this.note(`${watcher.viewer.name} is disconnected (${state.code})`);
  }

  note(text: string): void {
    this.#io.out(`${timeOf(this.#io.now())} -- ${text}`);
  }

  end(): void {}
}

/** The board is redrawn at this interval: marks fade without a change, and many changes can arrive at once. In milliseconds. */
const DRAW_EVERY_MS = 100;

/** The viewers side by side, drawn in place. */
export class TerminalShow implements Show {
  readonly #io: Io;
  readonly #watchers: readonly Watcher[];
  readonly #terminal: Terminal;
  readonly #log = new ChangeLog();
  readonly #states = new Map<Watcher, string>();
  readonly #timer: NodeJS.Timeout;
  readonly #page: string;
  #note = "";

  /**
   * @param watchers Filled while it is shown.
   * @param page The address of the page.
   */
  constructor(io: Io, watchers: readonly Watcher[], output: NodeJS.WriteStream, page: string) {
    this.#page = page;
    this.#io = io;
    this.#watchers = watchers;
    this.#terminal = new Terminal(output);
    this.#timer = setInterval(() => this.#draw(), DRAW_EVERY_MS);
  }

  message(watcher: Watcher, message: ServerMessage): void {
    const nowMs = this.#io.now();
    const applied = watcher.view.take(message, nowMs);
    if (applied !== undefined) this.#log.add(watcher.viewer.name, applied, nowMs);
    if (message.type === "subscribed" && message.start !== "snapshot") {
      this.note(
        `${watcher.viewer.name}: ${message.start}${message.start === "reset" ? "" : ", nothing missed"}`,
      );
    }
  }

  state(watcher: Watcher, state: FollowState): void {
    this.#states.set(watcher, state.is === "connected" ? "" : state.is);
  }

  note(text: string): void {
    this.#note = text;
  }

  end(): void {
    clearInterval(this.#timer);
    this.#draw();
    this.#terminal.end();
  }

  #draw(): void {
    const nowMs = this.#io.now();
    const columns = this.#watchers.map((watcher) => ({
      title: watcher.viewer.title,
      sees: watcher.viewer.sees,
      state: this.#states.get(watcher) ?? "",
      rows: watcher.view.rows(nowMs),
    }));
    const viewers = this.#watchers.map(({ viewer }) => viewer.name);
    const screen = { columns, log: this.#log.latest, note: this.#note, viewers, page: this.#page };
    this.#terminal.draw(drawScreen(screen, this.#terminal.size, paintWith(!this.#io.env["NO_COLOR"])));
  }
}

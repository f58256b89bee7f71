/** A stream that another process follows, for drivers of the table that are programs. */
import type { Received } from "../support/ws-client.ts";

export const PATIENCE_MS = 60_000;

/** The messages of one stream, in the order in which the other process has printed them. */
export abstract class ProcessReader {
  readonly all: Received[] = [];
  readonly #ofTheConnection: ReadonlySet<string>;

  /** @param ofTheConnection The types of messages that belong to no subscription. */
  constructor(ofTheConnection: readonly string[]) {
    this.#ofTheConnection = new Set(ofTheConnection);
  }

  get received(): readonly Received[] {
    return this.all.filter(({ type }) => !this.#ofTheConnection.has(type));
  }

  get answer(): Received {
    const [first] = this.received;
    if (first === undefined) throw new Error(`no answer: ${JSON.stringify(this.all)}`);
    return first;
  }

  get place(): { cursor: string; ticket: string } {
    const last = (name: string) => this.all.findLast((message) => typeof message[name] === "string")?.[name];
    return { cursor: String(last("cursor")), ticket: String(last("ticket")) };
  }
}

import type { SinkOptions } from "./options.ts";
import { Sink, type SinkParts } from "./sink.ts";

/** All sinks of the configuration on this node. */
export class Sinks {
  readonly #sinks: readonly Sink[];

  constructor(options: Readonly<Record<string, SinkOptions>>, parts: SinkParts) {
    this.#sinks = Object.entries(options).map(([name, sink]) => new Sink(name, sink, parts));
  }

  start(): void {
    for (const sink of this.#sinks) sink.start();
  }

  /** Hands all sinks over to other nodes. */
  async stop(): Promise<void> {
    await Promise.all(this.#sinks.map((sink) => sink.stop()));
  }
}

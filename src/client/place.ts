import type { ServerMessage } from "../protocol/messages.ts";

/** What a subscription resumes with. */
export interface ResumePoint {
  readonly cursor: string;
  readonly ticket: string;
}

/**
 * How far one subscription has got, learnt from the messages of its connection. There is no point to resume
 * from while a snapshot is under way: its cursor is good only once all of its documents have come.
 */
export class Place {
  readonly #id: string;
  readonly #wantsSnapshot: boolean;
  #query: number | undefined;
  #ticket: string | undefined;
  #cursor: string | undefined;
  #snapshotPending = false;

  constructor(id: string, wantsSnapshot: boolean) {
    this.#id = id;
    this.#wantsSnapshot = wantsSnapshot;
  }

  get resumePoint(): ResumePoint | undefined {
    if (this.#cursor === undefined || this.#ticket === undefined) return undefined;
    return { cursor: this.#cursor, ticket: this.#ticket };
  }

  take(message: ServerMessage): void {
    switch (message.type) {
      case "subscribed":
        if (message.id !== this.#id) return;
        this.#query = message.query;
        this.#ticket = message.ticket;
        if (message.start === "snapshot" || message.start === "reset") this.#startOver(message.cursor);
        else this.#cursor = message.cursor;
        return;
      case "reset":
        if (message.query !== this.#query) return;
        this.#ticket = message.ticket;
        this.#startOver(undefined);
        return;
      case "snapshot":
        if (message.query !== this.#query || !message.last) return;
        this.#snapshotPending = false;
        this.#cursor = message.cursor;
        return;
      case "added":
      case "changed":
      case "removed":
        if (message.query === this.#query) this.#advance(message.cursor);
        return;
      case "watermark":
        this.#advance(message.cursor);
        return;
      case "tickets":
        this.#ticket = message.tickets[this.#id] ?? this.#ticket;
        return;
    }
  }

  #startOver(cursor: string | undefined): void {
    this.#snapshotPending = this.#wantsSnapshot;
    this.#cursor = this.#wantsSnapshot ? undefined : cursor;
  }

  #advance(cursor: string): void {
    if (!this.#snapshotPending) this.#cursor = cursor;
  }
}

/** The connection of a registration: it authenticates with the saved identity, and subscribes to the one live query. */
import type { Identity } from "../auth/verify-token.ts";
import type { LiveQuery } from "../feed/live-query.ts";
import { sendTickets } from "../gateway/connection/answers.ts";
import type { OpenedConnection } from "../gateway/connection/open-connection.ts";
import type { Subscription } from "../gateway/connection/subscription.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { HostedConnections } from "../gateway/hosted-connections.ts";
import { runGuarded } from "../metrics/guard.ts";
import { CLOSE_CODES } from "../protocol/close-codes.ts";
import type { SavedRegistration } from "../source/push-store.ts";
import { type PushReceiver, PushTransport } from "./push-transport.ts";
import { resumeFrom } from "./resume-from.ts";

/** The id of the subscription in messages. */
export const SUBSCRIPTION = "1";

/** The parts that a link needs. */
export interface LinkParts {
  readonly hosted: HostedConnections;
  readonly context: GatewayContext;
}

/** The live query, and the point from which it is followed. */
export interface LinkStart {
  readonly identity: Identity;
  readonly collection: string;
  /** As JSON. */
  readonly filter: string;
  /** The ticket, and the cursor that was sent with it; `null` to begin at the head. */
  readonly start: SavedRegistration["start"];
  /** A later cursor, up to which everything was received; `null` if there is none. */
  readonly through: string | null;
}

/** One connection. Once it was closed, its receiver hears nothing more. */
export class Link {
  readonly #opened: OpenedConnection;
  #isClosed = false;
  #isResuming = false;

  constructor(parts: LinkParts, asked: LinkStart, receiver: PushReceiver) {
    const transport = new PushTransport({
      changed: (chunk) => void (this.#isClosed || receiver.changed(chunk)),
      told: (message) => void (this.#isClosed || receiver.told(message)),
      ended: () => void (this.#isClosed || receiver.ended()),
    });
    this.#opened = parts.hosted.open(transport, Date.now());
    const { connection } = this.#opened;
    const subscribe = () => this.#subscribe(parts.context, asked);
    runGuarded(parts.context, "push.open", subscribe, (fault) => connection.fail(fault));
  }

  /** Whether it continues from a cursor. */
  get isResuming(): boolean {
    return this.#isResuming;
  }

  /** Whether it has rights at this moment. */
  get isDecided(): boolean {
    const attachment = this.#subscription?.attachment;
    return attachment?.serves(SUBSCRIPTION) === true && attachment.deciding === null;
  }

  /** Whether it has received everything up to the head of the stream. */
  get isLive(): boolean {
    return this.#subscription !== undefined && !this.#opened.connection.subscriptions.isBehind;
  }

  /** The key of the live query; `null` if there is none. Equal keys mean equal rights. */
  get key(): string | null {
    return this.#subscription?.attachment.query.key ?? null;
  }

  /** Whether its rights change with each step of `%%now`. */
  get usesNow(): boolean {
    return typeof this.#subscription?.query.nowMs === "number";
  }

  get liveQuery(): LiveQuery | undefined {
    return this.#subscription?.attachment.delivery.liveQuery;
  }

  /** The cursor at which the subscription began. */
  get startCursor(): string | undefined {
    return this.#subscription?.attachment.start.cursor;
  }

  /** Makes a newer ticket, which arrives as a message. */
  renewTicket(): void {
    sendTickets(this.#opened.connection);
  }

  /** Ends the connection. It may be in the middle of a call, so it ends after that. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { connection } = this.#opened;
    setImmediate(connection.guarded("push.close", () => connection.terminate(CLOSE_CODES.serviceRestart)));
  }

  get #subscription(): Subscription | undefined {
    return this.#opened.connection.subscriptions.get(SUBSCRIPTION);
  }

  async #subscribe(context: GatewayContext, asked: LinkStart): Promise<void> {
    const { identity, collection, filter } = asked;
    const { connection, inbox } = this.#opened;
    const resume = await resumeFrom(context, asked.start, asked.through);
    this.#isResuming = resume !== null;
    await inbox.authenticateByRequest(async () => {
      await context.trust.ensureKeys(identity);
      return identity;
    }, "json");
    if (!connection.isOpen) return;
    const request = { collection, filter: JSON.parse(filter), snapshot: false, ...resume };
    inbox.receive(
      { fields: { type: "subscribe", id: SUBSCRIPTION, ...request }, bytes: filter.length },
      Date.now(),
    );
  }
}

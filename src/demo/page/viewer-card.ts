import {
  type Change,
  type Client,
  type ConnectionState,
  createClient,
  type Query,
  type Status,
} from "tidewire/client";
import { amount } from "../../protocol/amount.ts";
import type { Order } from "../order.ts";
import type { BoardAnswer } from "../page-api.ts";
import type { Applied, Shown } from "../view.ts";
import { api } from "./api.ts";
import { type CardParts, type Count, CUT, cardElement, makeParts } from "./card-layout.ts";
import { compareWithFind } from "./compare.ts";
import { capitalized, setText } from "./element.ts";
import { Line } from "./line.ts";
import type { Hearing } from "./log-panel.ts";
import { Onlookers } from "./onlookers.ts";
import { OrderTable } from "./order-table.ts";
import type { Effect } from "./rules-panel.ts";
import { StatusNumbers } from "./status-numbers.ts";

/** Short delays: the service is on this machine, and a viewer of the page should not wait. */
const RECONNECT = { maxMs: 1_000, attemptsPerMinute: 600 };

/** The events of a card about the changes that its viewer receives. */
export interface CardEvents {
  /** A write, as this viewer received it. */
  applied(viewer: string, applied: Applied, hearing: Hearing): void;
  /** An edit of the rules made a document or its fields visible or hid them. */
  granted(viewer: string, effect: Effect): void;
  /** A message for screen readers. */
  announce(text: string): void;
}

const WORDS: Readonly<Record<Status, string>> = {
  connecting: "connecting",
  "catching-up": "catching up",
  live: "live",
  offline: "disconnected",
  stopped: "no rule gives this user access",
};

/** One person in front of the board, with a client of their own and the orders that the rules allow. */
export class ViewerCard {
  readonly element: HTMLElement;
  readonly name: string;
  readonly #title: string;
  readonly #events: CardEvents;
  readonly #client: Client;
  readonly #query: Query<Order>;
  readonly #line: Line;
  readonly #table: OrderTable;
  readonly #parts: CardParts;
  readonly #tally = { changes: 0, resumed: 0, madeUp: 0, tokens: 0 };
  #from = "";
  #isFirst = true;
  #status: Status = "connecting";
  #isShutOut = false;
  #offlineSinceMs: number | undefined;
  #stop: () => void = () => {};

  constructor(viewer: BoardAnswer["viewers"][number], events: CardEvents) {
    const [first = "", role = ""] = viewer.title.split(", ");
    this.name = viewer.name;
    this.#title = capitalized(first);
    this.#events = events;
    this.#table = new OrderTable(`The orders that ${this.#title} sees`);
    this.#parts = makeParts(this.#table.element);
    this.#line = new Line({
      resuming: (cursor) => {
        this.#from = cursor;
      },
      resumed: (missed) => this.#resumed(missed),
      renewed: () => this.#add("tokens", 1),
    });
    this.#client = createClient({
      url: location.origin,
      token: async () => (await api.token({ viewer: viewer.name })).token,
      WebSocket: this.#line.WebSocket,
      transports: ["ws"],
      reconnect: RECONNECT,
    });
    this.#query = this.#client.collection<Order>("orders").find();
    const numbers = new StatusNumbers(this.#client);
    const { element: onlookers } = new Onlookers(this.#client);
    this.element = cardElement(this.name, this.#title, role, this.#parts, numbers.element, onlookers);
    this.showRights(viewer.sees);
    this.#parts.plug.addEventListener("click", () => this.#toggle());
    this.#parts.check.addEventListener("click", () => void this.compare());
    this.#client.onState((state) => this.#connection(state));
    this.follow();
    setInterval(() => this.#showStatus(), 1_000);
  }

  get isStopped(): boolean {
    return this.#status === "stopped";
  }

  /** Follows the board, or follows it again after the service ended the subscription. */
  follow(): void {
    this.#stop();
    this.#stop = this.#query.subscribe({
      data: (docs) => {
        this.#table.show(docs, this.#isFirst);
        this.#isFirst = false;
        setText(this.#parts.count, amount(docs.length, "order"));
      },
      change: (change) => this.#change(change),
      status: (status) => {
        this.#status = status;
        if (status === "stopped") this.#setShutOut(true);
        if (status === "live") this.#setShutOut(false);
        this.#showStatus();
      },
    });
  }

  /** Shows a short description of the orders that the rules allow. */
  showRights(sees: string): void {
    setText(this.#parts.sees, sees);
  }

  /**
   * Compares the received result with MongoDB's own `find` for this viewer.
   * @param news The latest event, shown with the verdict.
   */
  async compare(news = ""): Promise<void> {
    // A disconnected viewer is behind, and its card already says so.
    if (this.#offlineSinceMs !== undefined) return;
    setText(this.#parts.verdict, "asking MongoDB …");
    const verdict = await compareWithFind(this.name, this.#client, this.#query);
    this.#parts.verdict.className = `verdict ${verdict.isEqual ? "equal" : "unequal"}`;
    setText(this.#parts.verdict, news === "" ? verdict.text : `${news}; ${verdict.text}`);
  }

  #toggle(): void {
    const { isCut } = this.#line;
    if (isCut) this.#line.reconnect();
    else this.#line.cut();
    this.#parts.plug.classList.toggle("primary", !isCut);
    setText(this.#parts.plug, isCut ? CUT : "Reconnect");
  }

  #connection({ status }: ConnectionState): void {
    const wasOffline = this.#offlineSinceMs !== undefined;
    if (status === "offline") this.#offlineSinceMs ??= Date.now();
    if (status === "connected") this.#offlineSinceMs = undefined;
    if (status === "offline" && !wasOffline) {
      this.#parts.verdict.className = "verdict";
      setText(this.#parts.verdict, "disconnected; catches up on missed changes later");
      this.#events.announce(`${this.#title} is disconnected`);
    }
    this.#showStatus();
  }

  #resumed(missed: number): void {
    this.#add("resumed", 1);
    this.#add("madeUp", missed);
    const text = `resumed at cursor …${this.#from.slice(-6)}: ${amount(missed, "missed change")} caught up`;
    this.#events.announce(`${this.#title} is back, ${text}`);
    void this.compare(text);
  }

  #change(change: Change<Order>): void {
    if (change.type === "snapshot") {
      if (change.reason !== undefined) void this.compare(`reset (${change.reason})`);
      if (change.reason === "rights-changed") this.#events.granted(this.name, "reset");
      return;
    }
    this.#add("changes", 1);
    const { cursor, cause } = change;
    const held = {
      added: { mark: "+", before: undefined },
      changed: { mark: "~", before: change.type === "changed" ? change.previous : undefined },
      removed: { mark: "-", before: change.doc },
    } as const;
    const { mark, before } = held[change.type];
    if (cause === "grant") {
      this.#events.granted(this.name, mark);
      return;
    }
    const after: Shown | undefined = change.type === "removed" ? undefined : change.doc;
    const id = change.type === "removed" ? change._id : change.doc._id;
    const hearing = { isLate: this.#line.isCatchingUp, isDeletion: cause === "delete" };
    this.#events.applied(this.name, { mark, id, cursor, before, after }, hearing);
  }

  #setShutOut(isShutOut: boolean): void {
    if (isShutOut !== this.#isShutOut)
      this.#events.granted(this.name, isShutOut ? "access lost" : "access given");
    this.#isShutOut = isShutOut;
  }

  #add(name: Count, by: number): void {
    this.#tally[name] += by;
    setText(this.#parts.numbers[name], String(this.#tally[name]));
  }

  #showStatus(): void {
    const seconds =
      this.#offlineSinceMs === undefined ? 0 : Math.floor((Date.now() - this.#offlineSinceMs) / 1_000);
    const isAway = this.#offlineSinceMs !== undefined;
    const words = isAway ? `${WORDS.offline}${seconds > 0 ? ` for ${seconds} s` : ""}` : WORDS[this.#status];
    const style = isAway ? "offline" : this.#status;
    this.element.dataset["status"] = style;
    this.#parts.state.className = `state ${style}`;
    setText(this.#parts.state, words);
  }
}

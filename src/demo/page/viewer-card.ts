import {
  type Change,
  type Client,
  type ConnectionState,
  createClient,
  type Query,
  type Status,
} from "tidewire/client";
import type { Order } from "../order.ts";
import type { BoardAnswer } from "../page-api.ts";
import type { Applied, Shown } from "../view.ts";
import { api } from "./api.ts";
import { type CardParts, type Count, CUT, cardElement, makeParts } from "./card-layout.ts";
import { compareWithFind } from "./compare.ts";
import { capitalized, count, setText } from "./element.ts";
import { Line } from "./line.ts";
import type { Hearing } from "./log-panel.ts";
import { OrderTable } from "./order-table.ts";
import type { Effect } from "./rules-panel.ts";

/** The service is on this machine, and whoever watches does not want to wait. */
const RECONNECT = { maxMs: 1_000, attemptsPerMinute: 600 };

/** The reports of a card about the changes that its viewer receives. */
export interface CardEvents {
  /** A write, as this viewer was told of it. */
  applied(viewer: string, applied: Applied, hearing: Hearing): void;
  /** The rules moved a document in or out of sight, or fields of it. */
  granted(viewer: string, effect: Effect): void;
  /** Worth telling to those who do not see it. */
  announce(text: string): void;
}

const WORDS: Readonly<Record<Status, string>> = {
  connecting: "connecting",
  "catching-up": "catching up",
  live: "live",
  offline: "cut off",
  stopped: "no rule lets this user in",
};

/** One person in front of the board: a client of their own, and what the rules let them see. */
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
    this.element = cardElement(this.name, this.#title, role, this.#parts);
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

  /** Follows the board; again, where the service had ended that. */
  follow(): void {
    this.#stop();
    this.#stop = this.#query.subscribe({
      data: (docs) => {
        this.#table.show(docs, this.#isFirst);
        this.#isFirst = false;
        setText(this.#parts.count, count(docs.length, "order"));
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

  /** What the rules let this viewer see, in a few words. */
  showRights(sees: string): void {
    setText(this.#parts.sees, sees);
  }

  /**
   * Holds what was sent against what MongoDB's own `find` shows this viewer.
   * @param news What has just happened, to be told with it.
   */
  async compare(news = ""): Promise<void> {
    // Whoever is cut off is behind, and says so.
    if (this.#offlineSinceMs !== undefined) return;
    setText(this.#parts.verdict, "asking MongoDB …");
    const verdict = await compareWithFind(this.name, this.#client, this.#query);
    this.#parts.verdict.className = `verdict ${verdict.isEqual ? "equal" : "unequal"}`;
    setText(this.#parts.verdict, news === "" ? verdict.text : `${news}; ${verdict.text}`);
  }

  #toggle(): void {
    const { isCut } = this.#line;
    if (isCut) this.#line.mend();
    else this.#line.cut();
    this.#parts.plug.classList.toggle("primary", !isCut);
    setText(this.#parts.plug, isCut ? CUT : "Mend the line");
  }

  #connection({ status }: ConnectionState): void {
    const wasOffline = this.#offlineSinceMs !== undefined;
    if (status === "offline") this.#offlineSinceMs ??= Date.now();
    if (status === "connected") this.#offlineSinceMs = undefined;
    if (status === "offline" && !wasOffline) {
      this.#parts.verdict.className = "verdict";
      setText(this.#parts.verdict, "cut off; what happens now is made up for later");
      this.#events.announce(`${this.#title} is cut off`);
    }
    this.#showStatus();
  }

  #resumed(missed: number): void {
    this.#add("resumed", 1);
    this.#add("madeUp", missed);
    const text = `resumed at cursor …${this.#from.slice(-6)}: ${count(missed, "missed change")} made up for`;
    this.#events.announce(`${this.#title} is back, ${text}`);
    void this.compare(text);
  }

  #change(change: Change<Order>): void {
    if (change.type === "snapshot") {
      if (change.reason !== undefined) void this.compare(`begun anew (${change.reason})`);
      if (change.reason === "rights-changed") this.#events.granted(this.name, "sent anew");
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
    if (isShutOut !== this.#isShutOut) this.#events.granted(this.name, isShutOut ? "shut out" : "let in");
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

import type { Client } from "tidewire/client";
import { type Order, STATUSES } from "../order.ts";
import { element, setText } from "./element.ts";

/** How often to ask again while the rules refuse the numbers, in milliseconds. */
const ASK_AGAIN_MS = 1_000;

/** The number of orders in each status that a viewer may see, without the orders themselves. */
export class StatusNumbers {
  readonly element = element("ul", { class: "numbers", "aria-label": "Orders by status" });
  readonly #client: Client;
  readonly #numbers = new Map(STATUSES.map((status) => [status as string, element("b", {}, "0")]));

  constructor(client: Client) {
    this.#client = client;
    for (const [status, number] of this.#numbers)
      this.element.append(element("li", { class: status }, `${status} `, number));
    this.#follow();
  }

  #follow(): void {
    const stop = this.#client
      .collection<Order>("orders")
      .find()
      .groupBy("status")
      .subscribe({
        data: (rows) => {
          const counts = new Map(rows.map(({ _id, count }) => [_id as string | null, count]));
          for (const [status, number] of this.#numbers) setText(number, String(counts.get(status) ?? 0));
        },
        status: (status) => {
          this.element.hidden = status === "stopped";
          if (status !== "stopped") return;
          stop();
          setTimeout(() => this.#follow(), ASK_AGAIN_MS);
        },
        // The numbers disappear, and the card says that the rules refuse the viewer.
        error: () => {},
      });
  }
}

/** An order as the demo's backend stores it. */
export interface Order {
  readonly _id: number;
  readonly customer: string;
  /** The courier; `null` until the order is ready. */
  readonly courier: string | null;
  readonly status: Status;
  readonly address: string;
  readonly total: number;
  /** The profit on the order; hidden from customers. */
  readonly margin: number;
}

/** The states, in the order that an order passes through them. */
export const STATUSES = ["new", "cooking", "ready", "riding", "delivered"] as const;
/** The state of an order. */
export type Status = (typeof STATUSES)[number];

/** The collection of the orders. */
export const COLLECTION = "orders";

/** An order as the demo's backend stores it. */
export interface Order {
  readonly _id: number;
  readonly customer: string;
  /** Who brings it; `null` until it is ready. */
  readonly courier: string | null;
  readonly status: Status;
  readonly address: string;
  readonly total: number;
  /** What is earned with it; not for customers. */
  readonly margin: number;
}

/** In the order in which they follow each other. */
export const STATUSES = ["new", "cooking", "ready", "riding", "delivered"] as const;
/** The state of an order. */
export type Status = (typeof STATUSES)[number];

/** The collection of the orders. */
export const COLLECTION = "orders";

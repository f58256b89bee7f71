import { type Order, STATUSES } from "./order.ts";

/** One write of the backend. */
export type Move =
  | { readonly insert: Order }
  | { readonly update: number; readonly set: Partial<Order> }
  | { readonly remove: number };

const CUSTOMERS = ["ben", "eve", "ben", "finn"] as const;
const COURIERS = ["cleo", "dan"] as const;
const STREETS = ["Elm St", "Oak Av", "Bay Rd", "Lea Ln"] as const;

/** The board stays small enough for one screen. */
export const FEWEST = 6;
/** The largest number of orders on the board. */
export const MOST = 11;

/** Picks the backend's next write from the orders on the board. The random source is an argument. */
export function nextMove(orders: readonly Order[], nextId: number, random: () => number): Move {
  const delivered = orders.filter(({ status }) => status === "delivered");
  const open = orders.filter(({ status }) => status !== "delivered");
  const dice = random();
  if (orders.length < FEWEST || (orders.length < MOST && dice < 0.2)) {
    return { insert: newOrder(nextId, random) };
  }
  const done = delivered[0];
  if (done !== undefined && (orders.length >= MOST || dice < 0.35)) return { remove: done._id };
  const order = pick(open, random);
  if (order === undefined) return { insert: newOrder(nextId, random) };
  if (orders.length >= MOST || dice < 0.75) return { update: order._id, set: nextStatus(order, random) };
  // Customers do not see this field, so they must not receive a change.
  if (dice < 0.88) return { update: order._id, set: { margin: price(order.total * (0.1 + 0.2 * random())) } };
  // The order moves to another courier: it leaves one view and enters another.
  if (dice < 0.94) return { update: order._id, set: { customer: another(order.customer, random) } };
  return { update: order._id, set: { total: price(order.total + 1 + 5 * random()) } };
}

function newOrder(_id: number, random: () => number): Order {
  const total = price(8 + 40 * random());
  return {
    _id,
    customer: pick(CUSTOMERS, random) ?? CUSTOMERS[0],
    courier: null,
    status: "new",
    address: `${1 + Math.floor(random() * 98)} ${pick(STREETS, random) ?? STREETS[0]}`,
    total,
    margin: price(total * (0.1 + 0.2 * random())),
  };
}

function nextStatus({ status }: Order, random: () => number): Partial<Order> {
  const next = STATUSES[STATUSES.indexOf(status) + 1] ?? status;
  return next === "ready"
    ? { status: next, courier: pick(COURIERS, random) ?? COURIERS[0] }
    : { status: next };
}

const another = (customer: string, random: () => number) =>
  pick(
    CUSTOMERS.filter((name) => name !== customer),
    random,
  ) ?? customer;

const pick = <T>(list: readonly T[], random: () => number): T | undefined =>
  list[Math.floor(random() * list.length)];

const price = (amount: number) => Math.round(amount * 10) / 10;

import type { ObjectId } from "mongodb";
import { expectTypeOf, test } from "vitest";
import {
  avg,
  type Change,
  count,
  createClient,
  type Filter,
  max,
  min,
  type QueryState,
  sum,
  type TidewireError,
} from "../../../src/client/client.ts";

interface Order {
  _id: string;
  status: "open" | "paid";
  total: number;
  note?: string;
  at: Date;
  customer: { id: string; address: { city: string; zip?: string } };
  items: { sku: string; count: number; tags: string[] }[];
}

const client = createClient({ url: "http://127.0.0.1:1", token: async () => "t", autoConnect: false });
const orders = client.collection<Order>("orders");
declare const objectId: ObjectId;

test("a filter knows the fields of its documents, and their types", () => {
  expectTypeOf<Filter<Order>>().toBeObject();
  orders.find({ status: "open", total: { $gte: 5, $lt: 10n }, note: { $exists: false } });
  orders.find({ "customer.address.city": "Ulm", "items.sku": { $in: ["a", "b"] }, items: { $size: 2 } });
  orders.find({ items: { $elemMatch: { sku: "a", count: { $gt: 1 } } }, "items.tags": { $all: ["x"] } });
  orders.find({ $or: [{ status: "paid" }, { $nor: [{ total: { $mod: [2, 0] } }] }] });
  orders.find({ note: { $regex: "^a", $ne: null }, total: { $not: { $gt: 5 } } });
  // @ts-expect-error no such field
  orders.find({ stauts: "open" });
  // @ts-expect-error no such value
  orders.find({ status: "closed" });
  // @ts-expect-error not a number
  orders.find({ total: { $gt: "5" } });
  // @ts-expect-error no such operator
  orders.find({ total: { $greater: 5 } });
  // @ts-expect-error no such path
  orders.find({ "customer.adress.city": "Ulm" });
});

test("a string of a document may be an ObjectId, a date or Extended JSON in a filter", () => {
  const late = () => orders.find({ _id: objectId, "customer.id": { $in: [objectId, { $oid: "00" }] } });
  orders.find({ _id: { $oid: "65f000000000000000000001" }, at: { $gt: new Date() }, note: new Date() });
  expectTypeOf(late).toBeFunction();
});

test("documents of an unknown shape take any path", () => {
  const anything = client.collection("things").find({ "a.b.c": { $gt: 1 }, d: [1] });
  expectTypeOf(anything.getState()).toEqualTypeOf<QueryState<Record<string, unknown>>>();
});

test("the result has the type of the documents", () => {
  const query = orders.find({});
  expectTypeOf(query.getState().data).toEqualTypeOf<readonly Order[]>();
  expectTypeOf(query.getState().error).toEqualTypeOf<TidewireError | undefined>();
  expectTypeOf(query.snapshot).returns.resolves.toEqualTypeOf<readonly Order[]>();
  expectTypeOf(query.changes).returns.toExtend<AsyncIterable<Change<Order>>>();
  query.subscribe({
    data: (data) => expectTypeOf(data).toEqualTypeOf<readonly Order[]>(),
    change: (change) => {
      if (change.type === "added") expectTypeOf(change.doc).toEqualTypeOf<Order>();
      if (change.type === "removed") expectTypeOf(change._id).toEqualTypeOf<string>();
    },
    error: (error) => expectTypeOf(error.code).toExtend<string>(),
  })();
});

test("`fields` keeps the requested fields, and `_id`", () => {
  const query = orders
    .find()
    .fields("status", "customer.address.city", "items.sku")
    .sort("total", -1)
    .limit(5);
  expectTypeOf<typeof query extends { getState(): QueryState<infer R> } ? R : never>().toEqualTypeOf<{
    _id: string;
    status: "open" | "paid";
    customer: { address: { city: string } };
    items: { sku: string }[];
  }>();
  // @ts-expect-error no such field
  orders.find().fields("stauts");
  // @ts-expect-error no such field
  orders.find().sort("stauts");
  // @ts-expect-error neither up nor down
  orders.find().sort("total", 2);
});

test("an optional field stays optional in the result type", () => {
  const query = orders.find().fields("note");
  expectTypeOf(query.getState().data).toEqualTypeOf<readonly { _id: string; note?: string }[]>();
});

test("rows have the types of their groups and values", () => {
  const rows = <R>(query: { getState(): { data: readonly R[] } }) => query.getState().data;
  expectTypeOf(rows(orders.find().count())).toExtend<readonly { _id: null; count: number }[]>();
  expectTypeOf(rows(orders.find().groupBy("status"))).toExtend<
    readonly { _id: "open" | "paid" | null; count: number }[]
  >();
  const values = {
    n: count(),
    total: sum("total"),
    mean: avg("total"),
    first: min("at"),
    last: max("status"),
  };
  const grouped = orders.find({ status: "open" }).groupBy("customer.address.city").values(values);
  expectTypeOf(rows(grouped)).toExtend<
    readonly {
      _id: string | null;
      n: number;
      total: number;
      mean: number | null;
      first: Date | null;
      last: "open" | "paid" | null;
    }[]
  >();
  expectTypeOf(rows(orders.find().groupBy("status", "customer.id"))).toExtend<
    readonly { _id: { status?: "open" | "paid"; customer?: { id: string } }; count: number }[]
  >();
  expectTypeOf(
    rows(
      orders
        .find()
        .groupBy()
        .values({ total: sum("total") }),
    ),
  ).toExtend<readonly { _id: null; total: number }[]>();
  // @ts-expect-error no such path
  orders.find().groupBy("stauts");
  const byStatus = orders.find().groupBy("status");
  // @ts-expect-error no such path
  byStatus.values({ x: sum("totl") });
});

/**
 * The demo's backend, a process of its own. It knows nothing of Tidewire: it writes to MongoDB with the ordinary
 * driver, as any backend does.
 */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { MongoClient } from "mongodb";
import { type Move, nextMove } from "./next-move.ts";
import { COLLECTION, type Order } from "./order.ts";

/** The status of a new order, before a customer is known. */
const FIRST_ID = 1001;

const [, , database = "", firstRate = ""] = process.argv;
let rate = Number(firstRate);
// The page changes the write rate; 0 pauses the backend.
process.on("message", (message: { readonly rate: number }) => {
  rate = message.rate;
});
const uri = process.env["MONGODB_URI"] ?? "";
const orders = new MongoClient(uri, { appName: "demo-backend" }).db(database).collection<Order>(COLLECTION);

async function write(move: Move): Promise<void> {
  if ("insert" in move) await orders.insertOne(move.insert);
  else if ("remove" in move) await orders.deleteOne({ _id: move.remove });
  else await orders.updateOne({ _id: move.update }, { $set: move.set });
}

let lastId = (await orders.find().sort({ _id: -1 }).limit(1).next())?._id ?? FIRST_ID - 1;
for (;;) {
  while (rate === 0) await once(process, "message");
  const board = await orders.find().sort({ _id: 1 }).toArray();
  const move = nextMove(board, lastId + 1, Math.random);
  await write(move);
  if ("insert" in move) lastId = move.insert._id;
  // The interval varies at random, as writes of real users do.
  await sleep((2 * Math.random() * 1_000) / rate);
}

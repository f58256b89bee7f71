/** The limit for opening a count: the server's own `$group`, asked by the driver. */
import { MongoClient } from "../lib/product.mjs";
import { options, serve } from "../lib/serve.mjs";

const client = new MongoClient(options.uri);
const documents = client.db(options.database).collection(options.collection);

let received = 0;

serve({
  async ready() {
    await client.connect();
    return {};
  },

  arm() {
    received = 0;
  },

  async open({ filters }) {
    for (const filter of filters) {
      const group = { _id: null, count: { $sum: 1 } };
      await documents.aggregate([{ $match: filter }, { $group: group }]).toArray();
      received++;
    }
  },

  done: () => ({ received, lost: 0 }),
});

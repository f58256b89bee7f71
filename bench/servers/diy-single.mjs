/** A typical first version: one stream, and for each change an evaluation of every client's filter (`sift`). */
import sift from "sift";
import { serve } from "../lib/serve.mjs";
import { changeText, client, listen, now, SUBSCRIBED, watch } from "./common.mjs";

const followers = [];

const port = await listen((socket, { filter }) => {
  followers.push({ socket, matches: sift(filter) });
  socket.send(SUBSCRIBED);
});

await client.connect();
watch(
  (document) => {
    for (const { socket, matches } of followers) if (matches(document)) socket.send(changeText(document));
  },
  await now(),
);

serve({ ready: () => ({ port }) });

/** The part of your backend: it writes signals and removes those that have arrived. `serve.mjs` calls it. */

/** A description with many codecs has a few kilobytes. In characters of JSON. */
const SIGNAL_MAX = 65_536;
/** For signals to a page that was closed meanwhile. In seconds. */
const FORGET_AFTER_S = 60;

const isText = (value) => typeof value === "string" && value.length > 0 && value.length <= 200;

/** @returns The endpoints, by their path. `user` is the user who is logged in, never a name that the page chooses. */
export async function actions(db) {
  const signals = db.collection("signals");
  await signals.createIndex({ at: 1 }, { expireAfterSeconds: FORGET_AFTER_S });
  await signals.createIndex({ to: 1, toPeer: 1 });
  return {
    "/signal": async ({ user, to, toPeer, fromPeer, n, content }) => {
      if (![user, to, toPeer, fromPeer].every(isText) || !Number.isSafeInteger(n))
        throw new Error("a signal has to, toPeer, fromPeer and n");
      if (JSON.stringify(content).length > SIGNAL_MAX) throw new Error("the signal is too long");
      await signals.insertOne({
        from: user,
        fromPeer,
        to,
        toPeer,
        n,
        content: JSON.stringify(content),
        at: new Date(),
      });
      return {};
    },
    "/taken": async ({ user, peer, upTo, fromPeer }) => {
      if (![user, peer, fromPeer].every(isText) || !Number.isSafeInteger(upTo))
        throw new Error("say whose signals have arrived: peer, fromPeer and upTo");
      await signals.deleteMany({ to: user, toPeer: peer, fromPeer, n: { $lte: upTo } });
      return {};
    },
  };
}

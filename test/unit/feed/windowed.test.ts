import { expect, test, vi } from "vitest";
import { AFTER } from "../../../src/feed/cursor.ts";
import { deferred } from "../../../src/feed/deferred.ts";
import { FRESH, follow, Recorder } from "../../support/recorder.ts";
import { commitOf, eventOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

const docs = (...list: number[]) => list.map((n) => ({ _id: n, n }));
/** The two smallest documents. */
const SMALLEST = specOf({}, { sort: [["n", 1]], limit: 2 });

/** A live window that was loaded with these documents: the limit, and what is kept beyond it. */
async function startWindow(loaded: readonly object[]) {
  const reader = new ScriptedReader();
  reader.answer = () => loaded;
  const started = await startFeed(reader);
  const { sink, delivery } = await follow(started.feed, SMALLEST);
  await settled();
  expect(sink.live).toBe(1);
  reader.reads.length = 0;
  return { ...started, reader, sink, delivery };
}

test("a document that pushes another one out makes two changes, and asks the database nothing", async () => {
  const { accept, reader, sink } = await startWindow(docs(2, 4));
  expect(sink.order).toEqual(["2", "4"]);
  await accept(commitOf(1, [insertOf({ _id: 3, n: 3 })]));
  expect(sink.order).toEqual(["2", "3"]);
  expect(sink.messages.slice(1)).toMatchObject([
    { type: "removed", _id: 4 },
    { type: "added", before: null },
  ]);
  expect(reader.reads).toEqual([]);
});

test("later commits wait while the database is asked, and are delivered in their order afterwards", async () => {
  const { feed, accept, reader, sink, delivery } = await startWindow(docs(...Array(50).keys()));
  const answered = deferred();
  reader.answer = async () => {
    await answered.promise;
    return docs(100, 101, 102);
  };
  const removals = [...Array(50).keys()].map((n) => eventOf({ _id: n, n }, null));
  await accept(commitOf(1, removals));
  await accept(commitOf(2, [insertOf({ _id: 99, n: 99 })]));
  expect([delivery.isLive, delivery.liveQuery.state.knownSeq]).toEqual([false, 0]);
  expect(reader.reads).toMatchObject([{ how: "readAt", at: FROM + 1n }]);
  answered.resolve();
  await delivery.liveQuery.state.becomesCurrent();
  expect(sink.order).toEqual(["99", "100"]);
  expect(delivery.liveQuery.state.knownSeq).toBe(feed.timeline.headSeq);
});

test("a window that the database cannot answer for is lost: its followers are reset and read it again", async () => {
  const { accept, reader, sink } = await startWindow(docs(...Array(50).keys()));
  reader.answer = ({ how }) => {
    if (how === "readAt") throw new Error("too old");
    return docs(100, 101);
  };
  await accept(
    commitOf(
      1,
      [...Array(50).keys()].map((n) => eventOf({ _id: n, n }, null)),
    ),
  );
  await vi.waitFor(() => expect(sink.live).toBe(2));
  expect(sink.messages.slice(1)).toMatchObject([
    { type: "reset", reason: "history-lost" },
    { type: "snapshot" },
  ]);
  expect(sink.order).toEqual(["100", "101"]);
});

test("a resumption reads the window as it was, and brings it forward by the history", async () => {
  const { feed, accept, reader, delivery } = await startWindow(docs(2, 4));
  await accept(commitOf(1, [insertOf({ _id: 3, n: 3 })]));
  // Loaded again later, the log begins there.
  delivery.liveQuery.forget();
  delivery.liveQuery.state.load([], FROM + 1n);
  reader.answer = () => docs(2, 4);
  const resumeFrom = { clusterTime: FROM, within: AFTER };
  const holding = new Recorder();
  for (const key of ["2", "4"]) holding.state.set(key, { _id: Number(key), n: Number(key) });
  holding.order = ["2", "4"];
  const { sink, started } = await follow(feed, SMALLEST, holding, { ...FRESH, resumeFrom });
  await vi.waitFor(() => expect(sink.live).toBe(1));
  expect(started.start).toBe("resumed");
  // The cluster time just before the first commit.
  expect(reader.reads).toMatchObject([{ how: "readAt", at: FROM - 1n }]);
  expect(sink.messages).toMatchObject([
    { type: "removed", _id: 4 },
    { type: "added", doc: { _id: 3 } },
  ]);
  expect(sink.order).toEqual(["2", "3"]);
});

test("an unsorted result holds no memory, and a window gives its memory back when it is lost", async () => {
  const { delivery, feed } = await startWindow(docs(1, 2));
  const { state } = delivery.liveQuery;
  expect([state.isStateless, state.trackedDocuments, state.heldBytes > 1_200]).toEqual([false, 2, true]);
  expect(state.visible?.map(({ id }) => id)).toHaveLength(2);
  state.lose();
  expect([state.isLoaded, state.trackedDocuments, state.heldBytes, state.visible]).toEqual([
    false,
    0,
    0,
    null,
  ]);
  const { delivery: unsorted } = await follow(feed, specOf());
  const stateless = unsorted.liveQuery.state;
  expect([stateless.isStateless, stateless.heldBytes, stateless.visible]).toEqual([true, 0, []]);
});

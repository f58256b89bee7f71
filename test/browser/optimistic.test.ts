/** Writes that are shown at once, in a real browser against a real service: every frame that the page shows is judged. */
import type { ClientSession, Document } from "mongodb";
import { expect, test } from "vitest";
import { isBrowserMissing, openPage, PATIENCE } from "../support/browser.ts";
import { servePage } from "../support/page-server.ts";
import { startTestService } from "../support/service.ts";

const COLLECTIONS = { todos: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };
const WRITES = 40;

const script = (service: string) => `
import { createRoot } from "react-dom/client";
import { createClient } from "./src/client/client.ts";
import { objectId } from "./src/client/optimistic/optimistic.ts";
import { TidewireProvider, useLiveQuery } from "./src/react/react.ts";
import { useOptimisticWrite } from "./src/react/optimistic.ts";

const client = createClient({ url: ${JSON.stringify(service)}, token: async () => (await fetch("/token")).text() });
const post = async (path, body) => {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};
function Todos() {
  const query = client.collection("todos").find({ done: false }).sort("text").limit(${WRITES + 10});
  const { data, status } = useLiveQuery(query);
  const { write } = useOptimisticWrite(query);
  window.add = (text, fail = false) => {
    const todo = { _id: objectId(), text, done: false, fail };
    const done = write({ insert: todo }, () => post("/add", todo)).catch((error) => error.message);
    return [todo._id, done];
  };
  window.finish = (_id) => write({ update: _id, set: { done: true } }, () => post("/finish", { _id }));
  window.rename = (_id, text) => write({ update: _id, set: { text } }, () => post("/rename", { _id, text }));
  return <><p id="status">{status}</p><ul id="list">{data.map(({ _id, text }) => <li key={_id} data-id={_id}>{text}</li>)}</ul></>;
}
window.frames = [];
const note = () => {
  const rows = [...document.querySelectorAll("#list li")].map((row) => row.dataset.id + " " + row.textContent);
  if (JSON.stringify(rows) !== JSON.stringify(window.frames.at(-1))) window.frames.push(rows);
};
const everyFrame = () => { note(); requestAnimationFrame(everyFrame); };
new MutationObserver(note).observe(document.getElementById("root"), { childList: true, subtree: true, characterData: true });
everyFrame();
createRoot(document.getElementById("root")).render(<TidewireProvider client={client}><Todos /></TidewireProvider>);
`;

async function open() {
  const { service, client, db } = await startTestService({
    collections: COLLECTIONS,
    server: { origins: ["*"] },
    history: { cursorStep: "1s" },
  });
  const todos = db.collection<Document & { _id: string }>("todos");
  let count = 0;
  /** The service sends the write before the backend answers, or after that. */
  const written = async (write: (session: ClientSession) => Promise<unknown>) => {
    const isLate = count++ % 2 === 0;
    const time = await client.withSession(async (session) => {
      await write(session);
      return session.operationTime;
    });
    if (isLate) await new Promise((resolve) => setTimeout(resolve, 60));
    return { operationTime: { t: time?.t, i: time?.i } };
  };
  const url = await servePage({
    script: script(`http://127.0.0.1:${service.address.port}`),
    post: {
      "/add": async ({ fail, ...todo }) => {
        if (fail === true) throw new Error("refused");
        return written((session) => todos.insertOne({ ...todo, owner: "u1" } as never, { session }));
      },
      "/finish": async ({ _id }) =>
        written((session) => todos.updateOne({ _id: String(_id) }, { $set: { done: true } }, { session })),
      "/rename": async ({ _id, text }) =>
        written((session) => todos.updateOne({ _id: String(_id) }, { $set: { text } }, { session })),
    },
  });
  const page = await openPage();
  await page.goto(url);
  await expect.poll(() => page.locator("#status").textContent(), PATIENCE).toBe("live");
  const frames = () => page.evaluate<string[][]>("window.frames");
  return { page, frames, todos };
}

const ids = (frame: readonly string[]) => frame.map((row) => row.split(" ")[0]);

test.skipIf(isBrowserMissing)(
  "no frame lacks an added row, none has it twice, and rows are in order",
  async () => {
    const { page, frames, todos } = await open();
    // One after the other, then all at once.
    const added = await page.evaluate<string[]>(`(async () => {
    const added = [];
    for (let n = 0; n < ${WRITES / 2}; n++) {
      const [id, done] = add("todo " + String(n * 7 % 20).padStart(2, "0"));
      added.push(id);
      await done;
    }
    const together = Array.from({ length: ${WRITES / 2} }, (_, n) => add("more " + String(n * 7 % 20).padStart(2, "0")));
    await Promise.all(together.map(([, done]) => done));
    return [...added, ...together.map(([id]) => id)];
  })()`);
    const seen = await frames();
    for (const id of added) {
      const from = seen.findIndex((frame) => ids(frame).includes(id));
      expect(from).toBeGreaterThanOrEqual(0);
      const counts = seen.slice(from).map((frame) => ids(frame).filter((one) => one === id).length);
      expect(counts.filter((count) => count !== 1)).toEqual([]);
    }
    for (const frame of seen)
      expect(frame.map((row) => row.slice(25))).toEqual(frame.map((row) => row.slice(25)).sort());
    expect(await todos.countDocuments({ owner: "u1" })).toBe(WRITES);
  },
);

test.skipIf(isBrowserMissing)(
  "changes are never shown undone, and a refused write is taken back once",
  async () => {
    const { page, frames } = await open();
    const [first, second] = await page.evaluate<string[]>(`(async () => {
    const [[first, a], [second, b]] = [add("a"), add("b")];
    await Promise.all([a, b]);
    frames.length = 0;
    await Promise.all([rename(first, "c"), finish(second)]);
    return [first, second];
  })()`);
    const seen = await frames();
    expect(seen.at(-1)).toEqual([`${first} c`]);
    const renamed = seen.findIndex((frame) => frame.includes(`${first} c`));
    expect(seen.slice(renamed).every((frame) => frame.includes(`${first} c`))).toBe(true);
    const gone = seen.findIndex((frame) => !ids(frame).includes(second));
    expect(seen.slice(gone).some((frame) => ids(frame).includes(second))).toBe(false);

    const message = await page.evaluate<string>('(frames.length = 0, add("never", true)[1])');
    expect(message).toContain("refused");
    await expect.poll(async () => (await frames()).at(-1), PATIENCE).toEqual([`${first} c`]);
    const shown = (await frames()).map((frame) => frame.length);
    expect(shown.filter((length, at) => length !== shown[at - 1])).toEqual(
      shown[0] === 2 ? [2, 1] : [1, 2, 1],
    );
  },
);

/** A page that a server renders: the browser takes over its documents, and the service reads no second snapshot. */
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { createSSRApp, h } from "vue";
import { renderToString as renderVue } from "vue/server-renderer";
import { WebSocket } from "ws";
import { createClient, type Initial } from "../../src/client/client.ts";
import { prefetch, toInlineJson } from "../../src/client/server.ts";
import { TidewireProvider, useLiveQuery, useTidewire } from "../../src/react/react.ts";
import { tidewire, useLiveQuery as useVueQuery } from "../../src/vue/vue.ts";
import { isBrowserMissing, openPage, PATIENCE, Wire } from "../support/browser.ts";
import { metricOf } from "../support/metric.ts";
import { servePage } from "../support/page-server.ts";
import { signToken, startTestService } from "../support/service.ts";

const COLLECTIONS = { todos: { rules: [{ name: "own", filter: { owner: "%%user.sub" } }] } };

const start = (url: string) => `
const initial = JSON.parse(document.getElementById("tidewire").textContent);
const client = createClient({ url: ${JSON.stringify(url)}, token: async () => (await fetch("/token")).text(), initial });
window.mismatches = [];
`;
const SCRIPTS = {
  react: (url: string) => `
import { hydrateRoot } from "react-dom/client";
import { createClient } from "./src/client/client.ts";
import { TidewireProvider, useLiveQuery, useTidewire } from "./src/react/react.ts";
${start(url)}
function Todos() {
  const { data, status } = useLiveQuery(useTidewire().collection("todos").find().sort("text"));
  return <p className={status}>{data.map(({ text }) => text).join()}</p>;
}
hydrateRoot(document.getElementById("root"), <TidewireProvider client={client}><Todos /></TidewireProvider>, { onRecoverableError: (error) => mismatches.push(error.message) });
`,
  vue: (url: string) => `
import { createSSRApp, h } from "vue";
import { createClient } from "./src/client/client.ts";
import { tidewire, useLiveQuery } from "./src/vue/vue.ts";
${start(url)}
const app = createSSRApp({ setup() {
  const { data, status } = useLiveQuery(client.collection("todos").find().sort("text"));
  return () => h("p", { class: status.value }, data.value.map(({ text }) => text).join());
} });
app.config.warnHandler = (message) => mismatches.push(message);
app.use(tidewire(client));
app.mount("#root");
`,
};

interface Todo {
  _id: string;
  text: string;
}

/** Renders the page with the results, as a server does. */
async function render(framework: keyof typeof SCRIPTS, url: string, initial: Initial): Promise<string> {
  const client = createClient({ url, initial, autoConnect: false });
  const query = () => client.collection<Todo>("todos").find().sort("text");
  if (framework === "vue") {
    const app = createSSRApp({
      setup() {
        // biome-ignore lint/correctness/useHookAtTopLevel: the rule is React's; this is where Vue calls them.
        const { data, status } = useVueQuery(query());
        return () => h("p", { class: status.value }, data.value.map(({ text }) => text).join());
      },
    });
    return renderVue(app.use(tidewire(client)));
  }
  function Todos() {
    const { data, status } = useLiveQuery(useTidewire().collection<Todo>("todos").find().sort("text"));
    return createElement("p", { className: status }, data.map(({ text }) => text).join());
  }
  return renderToString(createElement(TidewireProvider, { client }, createElement(Todos)));
}

test.skipIf(isBrowserMissing).each<[keyof typeof SCRIPTS]>([["react"], ["vue"]])(
  "a page with %s shows its documents before any script, and resumes from them",
  async (framework) => {
    const { service, db } = await startTestService({
      collections: COLLECTIONS,
      server: { origins: ["*"] },
      // The oplog has no past of a sorted query, so it resumes from the history, however long the browser takes.
      history: { window: "300s" },
      limits: { linger: "300s" },
    });
    const todos = db.collection("todos");
    await todos.insertMany([
      { text: "bread", owner: "u1" },
      { text: "rum", owner: "u2" },
    ]);
    const url = `http://127.0.0.1:${service.address.port}`;
    let htmlOfServer = "";
    const address = await servePage({
      script: SCRIPTS[framework](url),
      html: async () => {
        const token = () => signToken({ sub: "u1" });
        const initial = await prefetch(
          { url, token, WebSocket },
          (client) => [client.collection("todos").find().sort("text")],
          {
            timeoutMs: 30_000,
          },
        );
        htmlOfServer = await render(framework, url, initial);
        // Written after the page was rendered, so the browser must receive it as a change.
        await todos.insertOne({ text: "tea", owner: "u1" });
        return `<div id="root">${htmlOfServer}</div><script type="application/json" id="tidewire">${toInlineJson(initial)}</script>`;
      },
    });
    const page = await openPage();
    const wire = new Wire(page);
    await page.goto(address);
    expect(htmlOfServer).toContain("bread</p>");
    await page.locator("p.live", { hasText: "bread,tea" }).waitFor();
    expect(wire.received("subscribed")).toMatchObject([{ start: "resumed" }]);
    expect(wire.received("snapshot")).toEqual([]);
    expect(await metricOf(service, "tidewire_snapshots_total")).toBe(1);
    expect(await page.evaluate("mismatches")).toEqual([]);
    await todos.insertOne({ text: "zest", owner: "u1" });
    await expect.poll(() => page.locator("p").textContent(), PATIENCE).toBe("bread,tea,zest");
  },
);

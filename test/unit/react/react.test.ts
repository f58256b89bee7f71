// @vitest-environment happy-dom
import { act, Component, createElement, type ReactNode, StrictMode, Suspense, use, useState } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { expect, onTestFinished, test, vi } from "vitest";
import {
  type Client,
  createClient,
  type Initial,
  type Query,
  type QueryState,
} from "../../../src/client/client.ts";
import { useLiveInfinite } from "../../../src/react/infinite.ts";
import { useOptimisticWrite } from "../../../src/react/optimistic.ts";
import {
  TidewireProvider,
  useConnection,
  useLiveQuery,
  useLiveQuerySuspense,
  useTidewire,
} from "../../../src/react/react.ts";
import { FakeService } from "../../support/fake-service.ts";
import { added, answerSnapshot } from "../../support/scripted-client.ts";
import { untilPasses } from "../../support/until-passes.ts";

vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);

interface Page {
  createElement(name: string): { innerHTML: string; textContent: string };
}
const { document } = globalThis as unknown as { document: Page }; // happy-dom's, which the types do not know

interface Order {
  _id: number;
  a?: number;
}

function setUp(lingerMs = 20, initial?: Initial) {
  const service = new FakeService();
  const client = createClient({
    url: "http://live.test",
    WebSocket: service.WebSocket,
    transports: ["ws"],
    lingerMs,
    ...(initial && { initial }),
  });
  const container = document.createElement("div");
  let root: Root | undefined;
  onTestFinished(async () => {
    await act(async () => root?.unmount());
    client.close();
  });
  const render = (node: ReactNode) =>
    act(async () => {
      root ??= createRoot(container as unknown as Parameters<typeof createRoot>[0]); // an element of happy-dom
      root.render(createElement(TidewireProvider, { client }, node));
    });
  return { service, client, container, render };
}

const states: QueryState<Order>[] = [];

/** Creates its query in every render, as applications do. */
function Orders({ a = 1 }: { a?: number }): ReactNode {
  const client = useTidewire();
  const state = useLiveQuery(client.collection<Order>("orders").find({ a }));
  states.push(state);
  return `${state.status}: ${state.data.map(({ _id }) => _id).join()}`;
}

async function goLive({ service }: { service: FakeService }, docs: Order[]): Promise<void> {
  await act(async () => {
    service.socket.welcome();
    answerSnapshot(service.socket, docs);
  });
}

test("shows a live query, and its changes", async () => {
  const setup = setUp();
  await setup.render(createElement(Orders));
  expect(setup.container.textContent).toBe("connecting: ");
  await goLive(setup, [{ _id: 1 }]);
  expect(setup.container.textContent).toBe("live: 1");
  await act(async () => setup.service.socket.tell(added(2, "c2")));
  // The client reports changes after as long as its last report took.
  await untilPasses(() => expect(setup.container.textContent).toBe("live: 1,2"));
});

test("one connection and one subscription: in StrictMode, in many components, through many renders", async () => {
  const setup = setUp();
  const all = () =>
    createElement(StrictMode, null, createElement(Orders), createElement(Orders), createElement(Orders));
  for (let render = 0; render < 5; render++) await setup.render(all());
  await goLive(setup, [{ _id: 1 }]);
  for (let render = 0; render < 5; render++) await setup.render(all());
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(setup.service.sockets.length).toBe(1);
  expect(setup.service.socket.sent.map(({ type }) => type)).toEqual(["hello", "subscribe"]);
  expect(setup.container.textContent).toBe("live: 1live: 1live: 1");
});

test("a component that is mounted again at once, as by fast refresh, keeps the same subscription", async () => {
  const setup = setUp();
  await setup.render(createElement(Orders, { key: "before" } as object));
  await goLive(setup, [{ _id: 1 }]);
  await setup.render(createElement(Orders, { key: "after" } as object));
  expect(setup.container.textContent).toBe("live: 1");
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(setup.service.socket.sent.length).toBe(2);
});

test("state, result and documents stay the same objects when nothing has changed", async () => {
  const setup = setUp();
  await setup.render(createElement(Orders));
  await goLive(setup, [{ _id: 1 }]);
  const before = states.at(-1);
  await setup.render(createElement(Orders));
  expect(states.at(-1)).toBe(before);
  const renders = states.length;
  await act(async () => {
    setup.service.socket.tell({ type: "watermark", cursor: "c9" });
    await new Promise((resolve) => setTimeout(resolve, 0));
  });
  expect(states.length).toBe(renders);
});

test("another query is another subscription; the old one is left", async () => {
  const setup = setUp();
  await setup.render(createElement(Orders, { a: 1 }));
  await goLive(setup, [{ _id: 1 }]);
  await setup.render(createElement(Orders, { a: 2 }));
  expect(setup.container.textContent).toBe("connecting: ");
  await act(async () => answerSnapshot(setup.service.socket, [{ _id: 2 }], 2));
  expect(setup.container.textContent).toBe("live: 2");
  await untilPasses(() => expect(setup.service.socket.of("unsubscribe").length).toBe(1));
  expect(setup.service.sockets.length).toBe(1);
});

test("unmounting ends the subscription, and with the last one the connection", async () => {
  const setup = setUp();
  await setup.render(createElement(Orders));
  await goLive(setup, []);
  await setup.render(null);
  await untilPasses(() => expect(setup.service.socket.closedWith).toBe(1000));
});

test("a component that suspends while it renders leaves nothing behind, and is followed once when it is there", async () => {
  const setup = setUp();
  let arrive: (text: string) => void = () => {};
  const text = new Promise<string>((resolve) => {
    arrive = resolve;
  });
  function Slow(): ReactNode {
    const shown = createElement(Orders);
    return createElement("p", null, use(text), shown);
  }
  await setup.render(createElement(Suspense, { fallback: "wait" }, createElement(Slow)));
  expect(setup.container.textContent).toBe("wait");
  expect(setup.service.sockets.length).toBe(0);
  await act(async () => arrive("here "));
  await goLive(setup, [{ _id: 1 }]);
  expect(setup.container.textContent).toBe("here live: 1");
  expect(setup.service.socket.of("subscribe").length).toBe(1);
});

test("nothing is followed where there is no query", async () => {
  const setup = setUp();
  let choose: (query: Query<Order> | null) => void = () => {};
  function Maybe(): ReactNode {
    const [query, setQuery] = useState<Query<Order> | null>(null);
    choose = setQuery;
    const { status, data } = useLiveQuery(query);
    return `${status} ${data.length}`;
  }
  await setup.render(createElement(Maybe));
  expect([setup.container.textContent, setup.service.sockets.length]).toEqual(["connecting 0", 0]);
  await act(async () => choose(setup.client.collection<Order>("orders").find()));
  await goLive(setup, [{ _id: 1 }]);
  expect(setup.container.textContent).toBe("live 1");
});

test("on the server nothing connects, and the page takes over without a mismatch", async () => {
  const { service, client, container } = setUp();
  const page = createElement(TidewireProvider, { client }, createElement(Orders));
  const html = renderToString(page);
  expect(html).toBe("connecting: ");
  expect(service.sockets.length).toBe(0);
  container.innerHTML = html;
  const onRecoverableError = vi.fn();
  const root = await act(async () =>
    hydrateRoot(container as unknown as Parameters<typeof hydrateRoot>[0], page, { onRecoverableError }),
  );
  await goLive({ service }, [{ _id: 1 }]);
  expect(container.textContent).toBe("live: 1");
  expect(onRecoverableError).not.toHaveBeenCalled();
  await act(async () => root.unmount());
});

test("without a provider, the hook says what is missing", () => {
  const useIt = (): Client => useTidewire();
  const Lost = (): ReactNode => String(useIt());
  expect(() => renderToString(createElement(Lost))).toThrow(/TidewireProvider/);
});

test("a window that grows keeps what is shown until the larger result is complete", async () => {
  const setup = setUp();
  const shown: string[] = [];
  function Page({ limit }: { limit: number }): ReactNode {
    const { data } = useLiveQuery(setup.client.collection<Order>("orders").find().sort("_id").limit(limit));
    shown.push(data.map(({ _id }) => _id).join());
    return shown.at(-1);
  }
  await setup.render(createElement(Page, { limit: 2 }));
  await goLive(setup, [{ _id: 1 }, { _id: 2 }]);
  shown.length = 0;
  await setup.render(createElement(Page, { limit: 4 }));
  expect(setup.container.textContent).toBe("1,2");
  await act(async () =>
    answerSnapshot(
      setup.service.socket,
      [1, 2, 3].map((_id) => ({ _id })),
      2,
    ),
  );
  expect(setup.container.textContent).toBe("1,2,3");
  expect(shown).not.toContain("");
});

test("a component shows counts and groups, row by row", async () => {
  const { service, container, render } = setUp();
  const Tabs = () => {
    const { data } = useLiveQuery(useTidewire().collection<Order>("orders").find().groupBy("a"));
    return data.map(({ _id, count }) => `${_id}: ${count}`).join();
  };
  await render(createElement(Tabs));
  await goLive({ service }, [{ _id: 1, count: 2 }] as unknown as Order[]); // rows, which are no orders
  expect(container.textContent).toBe("1: 2");
  await act(async () => {
    const doc = { _id: 1, count: 3 };
    service.socket.tell({ type: "changed", query: 1, cursor: "c2", cause: "insert", doc });
  });
  await untilPasses(() => expect(container.textContent).toBe("1: 3"));
});

test("a derived value renders again only when it has changed, also for a function of its own in every render", async () => {
  const setup = setUp();
  let renders = 0;
  function Open(): ReactNode {
    renders++;
    const query = useTidewire().collection<Order>("orders").find();
    const odd = useLiveQuery(
      query,
      ({ data }) => data.filter(({ _id }) => _id % 2 === 1).map(({ _id }) => _id),
      (a, b) => a.join() === b.join(),
    );
    return odd.join();
  }
  await setup.render(createElement(Open));
  await goLive(setup, [{ _id: 1 }, { _id: 2 }]);
  expect(setup.container.textContent).toBe("1");
  const before = renders;
  const tell = (id: number) =>
    act(async () => {
      setup.service.socket.tell(added(id, `c${id}`));
      await new Promise((resolve) => setTimeout(resolve, 0));
    });
  await tell(4);
  await tell(6);
  expect(renders).toBe(before);
  await tell(7);
  await untilPasses(() => expect(setup.container.textContent).toBe("1,7"));
});

test("shows the state of the connection", async () => {
  const setup = setUp();
  const Sign = (): ReactNode => useConnection().status;
  const both = createElement("p", null, createElement(Sign), " ", createElement(Orders));
  await setup.render(both);
  await goLive(setup, []);
  expect(setup.container.textContent).toBe("connected live: ");
  await act(async () => setup.service.socket.drop());
  // The client connects again after some milliseconds.
  expect(setup.container.textContent).toMatch(/^(?:offline offline|connecting connecting): $/);
  expect(renderToString(createElement(TidewireProvider, { client: setup.client }, createElement(Sign)))).toBe(
    "idle",
  );
});

function Suspended({ a = 1 }: { a?: number }): ReactNode {
  const { status, data } = useLiveQuerySuspense(useTidewire().collection<Order>("orders").find({ a }));
  return `${status}: ${data.map(({ _id }) => _id).join()}`;
}

const withFallback = ({ key, ...props }: { key?: number; a?: number } = {}) =>
  createElement(Suspense, { fallback: "wait", key }, createElement(Suspended, props));

test("a component suspends until the first result is there, and not when the connection is lost after that", async () => {
  const setup = setUp();
  await setup.render(withFallback());
  expect(setup.container.textContent).toBe("wait");
  await goLive(setup, []);
  await untilPasses(() => expect(setup.container.textContent).toBe("live: "));
  await act(async () => setup.service.socket.drop());
  expect(setup.container.textContent).toBe("offline: ");
  expect(setup.service.socket.of("subscribe").length).toBe(1);
});

test("a component that is mounted while the client is offline shows the empty result that the client has", async () => {
  const setup = setUp();
  await setup.render([withFallback({ key: 1 })]);
  await goLive(setup, []);
  await untilPasses(() => expect(setup.container.textContent).toBe("live: "));
  await act(async () => setup.service.socket.drop());
  await setup.render([withFallback({ key: 1 }), withFallback({ key: 2 })]);
  // The client may be connecting again already.
  expect(setup.container.textContent).toMatch(/^(?:(?:offline|connecting): ){2}$/);
});

test("a component suspends if the client has dropped the result with which a server had rendered the page", async () => {
  const key = JSON.stringify({ collection: "orders", filter: { a: 1 } });
  const results = { [key]: { docs: [], cursor: "c1", ticket: "k1" } };
  const setup = setUp(0, { values: "json", results });
  await setup.render(withFallback());
  expect(setup.container.textContent).toBe("connecting: ");
  await setup.render(null);
  await untilPasses(() => expect(setup.client.state.status).toBe("idle"));
  await setup.render(withFallback());
  expect(setup.container.textContent).toBe("wait");
  await goLive(setup, []);
  await untilPasses(() => expect(setup.container.textContent).toBe("live: "));
});

test("a suspended component that stops throws the reason to the error boundary, and nothing renders on the server", async () => {
  const setup = setUp();
  class Boundary extends Component<{ children?: ReactNode }, { text?: string }> {
    override state: { text?: string } = {};
    static getDerivedStateFromError = (error: Error) => ({ text: error.message });
    override render = () => this.state.text ?? this.props.children;
  }
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  onTestFinished(() => log.mockRestore());
  await setup.render(createElement(Boundary, null, withFallback()));
  await act(async () => {
    setup.service.socket.welcome();
    const { id } = setup.service.socket.last("subscribe");
    setup.service.socket.tell({ type: "error", id, code: "forbidden", message: "not yours", retry: "never" });
  });
  await untilPasses(() => expect(setup.container.textContent).toBe("not yours"));
});

test("an optimistic write is shown at once, counted until it is settled, and its error is reported", async () => {
  const setup = setUp();
  let write: ReturnType<typeof useOptimisticWrite<Order, Order>>["write"] | undefined;
  function Form(): ReactNode {
    const query = useTidewire().collection<Order>("orders").find({ a: 1 });
    const writes = useOptimisticWrite(query);
    if (write !== undefined) expect(writes.write).toBe(write);
    write = writes.write;
    return ` ${writes.pending} ${String(writes.error)}`;
  }
  await setup.render(createElement("p", null, createElement(Orders), createElement(Form)));
  await goLive(setup, [{ _id: 1 }]);
  let refuse: (error: Error) => void = () => {};
  await act(async () => {
    write?.({ insert: { _id: 2, a: 1 } }, new Promise((_, reject) => (refuse = reject))).catch(() => {});
  });
  expect(setup.container.textContent).toBe("live: 1,2 1 undefined");
  await act(async () => refuse(new Error("full")));
  expect(setup.container.textContent).toBe("live: 1 0 Error: full");
});

test("a list grows by pages, and keeps what is shown while one arrives", async () => {
  const setup = setUp();
  let more = () => {};
  function List(): ReactNode {
    const query = useTidewire().collection<Order>("orders").find().sort("_id");
    const list = useLiveInfinite(query, 1);
    more = list.more;
    return `${list.data.map(({ _id }) => _id).join()} ${list.hasMore} ${list.isLoadingMore}`;
  }
  await setup.render(createElement(List));
  await goLive(setup, [{ _id: 1 }]);
  expect(setup.container.textContent).toBe("1 true false");
  await act(async () => more());
  expect(setup.container.textContent).toBe("1 true true");
  const { socket } = setup.service;
  const answer = (at: number, docs: object[]) => {
    const id = socket.of("subscribe")[at]?.id ?? "";
    const query = at + 1;
    socket.tell({ type: "subscribed", id, query, start: "snapshot", cursor: "c1", ticket: "t" });
    socket.tell({ type: "snapshot", query, docs: docs as never, cursor: "c1", last: true });
  };
  await act(async () => answer(1, [{ _id: 1 }]));
  expect(setup.container.textContent).toBe("1 true true");
  await act(async () => answer(2, []));
  expect(setup.container.textContent).toBe("1 false false");
});

// @vitest-environment happy-dom
import { expect, onTestFinished, test } from "vitest";
import { createApp, createSSRApp, defineComponent, effectScope, h, nextTick, ref } from "vue";
import { renderToString } from "vue/server-renderer";
import { createClient } from "../../../src/client/client.ts";
import { useLiveInfinite } from "../../../src/vue/infinite.ts";
import { useOptimisticWrite } from "../../../src/vue/optimistic.ts";
import { tidewire, useConnection, useLiveQuery, useTidewire } from "../../../src/vue/vue.ts";
import { FakeService } from "../../support/fake-service.ts";
import { added, answerSnapshot } from "../../support/scripted-client.ts";
import { untilPasses } from "../../support/until-passes.ts";

const { document } = globalThis as unknown as {
  document: { createElement(name: string): { textContent: string } };
}; // happy-dom's

interface Order {
  _id: number;
  a?: number;
}

function setUp() {
  const service = new FakeService();
  const client = createClient({
    url: "http://live.test",
    WebSocket: service.WebSocket,
    transports: ["ws"],
    lingerMs: 20,
  });
  onTestFinished(() => client.close());
  return { service, client };
}

/** A token is asked for before the socket is opened. */
const opened = (service: FakeService) => untilPasses(() => service.socket);

const Orders = defineComponent({
  props: { a: { type: Number, default: 1 } },
  setup(props) {
    // biome-ignore lint/correctness/useHookAtTopLevel: the rule is React's; this is where Vue calls them.
    const client = useTidewire();
    // biome-ignore lint/correctness/useHookAtTopLevel: as above.
    const { data, status, error } = useLiveQuery(() =>
      client.collection<Order>("orders").find({ a: props.a }),
    );
    return () => `${status.value}: ${data.value.map(({ _id }) => _id).join()} ${error.value?.code ?? ""}`;
  },
});

async function mount(a = ref(1)) {
  const setup = setUp();
  const container = document.createElement("div");
  const app = createApp({ render: () => [h(Orders, { a: a.value }), h(Orders, { a: a.value })] });
  app.use(tidewire(setup.client));
  app.mount(container as unknown as Parameters<typeof app.mount>[0]); // an element of happy-dom
  onTestFinished(() => app.unmount());
  await opened(setup.service);
  return { ...setup, container, app };
}

test("shows a live query and its changes, over one connection and one subscription", async () => {
  const { service, container } = await mount();
  expect(container.textContent).toBe("connecting:  connecting:  ");
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  await nextTick();
  expect(container.textContent).toBe("live: 1 live: 1 ");
  service.socket.tell(added(2, "c2"));
  await untilPasses(() => expect(container.textContent).toBe("live: 1,2 live: 1,2 "));
  expect(service.socket.sent.map(({ type }) => type)).toEqual(["hello", "subscribe"]);
});

test("follows another query when what it depends on changes, and leaves the old one", async () => {
  const a = ref(1);
  const { service, container } = await mount(a);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  a.value = 2;
  await nextTick();
  await nextTick();
  expect(service.socket.last("subscribe").filter).toEqual({ a: 2 });
  answerSnapshot(service.socket, [{ _id: 2 }], 2);
  await nextTick();
  expect(container.textContent).toBe("live: 2 live: 2 ");
  await untilPasses(() => expect(service.socket.of("unsubscribe").length).toBe(1));
});

test("unmounting ends it", async () => {
  const { service, app } = await mount();
  service.socket.welcome();
  app.unmount();
  await untilPasses(() => expect(service.socket.closedWith).toBe(1000));
});

test("works in an effect scope without a component, and ends with it", async () => {
  const { service, client } = setUp();
  const scope = effectScope();
  const state = scope.run(() => useLiveQuery(client.collection<Order>("orders").find()));
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect([state?.status.value, state?.data.value]).toEqual(["live", [{ _id: 1 }]]);
  scope.stop();
  await untilPasses(() => expect(service.socket.closedWith).toBe(1000));
});

test("keeps documents the objects they are: nothing is made reactive inside", async () => {
  const { service, client } = setUp();
  const query = client.collection<Order>("orders").find();
  const scope = effectScope();
  const state = scope.run(() => useLiveQuery(query));
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect(state?.data.value).toBe(query.getState().data);
  scope.stop();
});

test("on the server nothing connects", async () => {
  const { service, client } = setUp();
  const app = createSSRApp({ render: () => h(Orders) });
  app.use(tidewire(client));
  expect(await renderToString(app)).toBe("connecting:  ");
  expect(service.sockets.length).toBe(0);
});

test("a window that grows keeps what is shown until the larger result is complete", async () => {
  const { service, client } = setUp();
  const limit = ref(2);
  const query = () => client.collection<Order>("orders").find().sort("_id").limit(limit.value);
  const scope = effectScope();
  onTestFinished(() => scope.stop());
  const { data, status } = scope.run(() => useLiveQuery(query))!;
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }, { _id: 2 }]);
  limit.value = 4;
  await nextTick();
  expect([data.value, status.value]).toEqual([[{ _id: 1 }, { _id: 2 }], "connecting"]);
  answerSnapshot(service.socket, [{ _id: 1 }, { _id: 2 }, { _id: 3 }], 2);
  await nextTick();
  expect([data.value.length, status.value]).toEqual([3, "live"]);
});

test("a scope follows a count", async () => {
  const { service, client } = setUp();
  const scope = effectScope();
  onTestFinished(() => scope.stop());
  const live = scope.run(() => useLiveQuery(client.collection<Order>("orders").find({ a: 1 }).count()));
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: null, count: 4 }]);
  await untilPasses(() => expect(live?.data.value[0]?.count).toBe(4));
});

test("a derived value changes only when it is another one", async () => {
  const { service, client } = setUp();
  const scope = effectScope();
  onTestFinished(() => scope.stop());
  const query = client.collection<Order>("orders").find();
  const odd = scope.run(() =>
    useLiveQuery(
      query,
      ({ data }) => data.filter(({ _id }) => _id % 2 === 1).map(({ _id }) => _id),
      (a, b) => a.join() === b.join(),
    ),
  )!;
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  const before = odd.value;
  expect(before).toEqual([1]);
  service.socket.tell(added(2, "c2"));
  await untilPasses(() => expect(query.getState().data.length).toBe(2));
  expect(odd.value).toBe(before);
  service.socket.tell(added(3, "c3"));
  await untilPasses(() => expect(odd.value).toEqual([1, 3]));
});

test("shows the state of the connection", async () => {
  const { service, client } = setUp();
  const Sign = defineComponent(() => {
    const connection = useConnection();
    return () => [connection.value.status, " ", h(Orders)];
  });
  const container = document.createElement("div");
  const app = createApp(Sign);
  app.use(tidewire(client));
  app.mount(container as unknown as Parameters<typeof app.mount>[0]); // an element of happy-dom
  onTestFinished(() => app.unmount());
  await opened(service);
  service.socket.welcome();
  await untilPasses(() => expect(container.textContent).toMatch(/^connected /));
  service.socket.drop();
  await untilPasses(() => expect(container.textContent).toMatch(/^(?:offline|connecting) .*unavailable/));
});

test("an optimistic write is shown at once, counted until it is settled, and its error is reported", async () => {
  const { service, client } = setUp();
  const scope = effectScope();
  onTestFinished(() => scope.stop());
  const query = client.collection<Order>("orders").find();
  const { data, writes } = scope.run(() => ({
    data: useLiveQuery(query).data,
    writes: useOptimisticWrite(() => query),
  }))!;
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  let refuse: (error: Error) => void = () => {};
  const done = writes.write({ remove: 1 }, () => new Promise((_, reject) => (refuse = reject)));
  expect([data.value, writes.pending.value, writes.error.value]).toEqual([[], 1, undefined]);
  const failure = new Error("no");
  refuse(failure);
  await expect(done).rejects.toBe(failure);
  expect([data.value, writes.pending.value, writes.error.value]).toEqual([[{ _id: 1 }], 0, failure]);
});

test("a list grows by pages, and begins again with another query", async () => {
  const { service, client } = setUp();
  const scope = effectScope();
  onTestFinished(() => scope.stop());
  const a = ref(1);
  const list = scope.run(() =>
    useLiveInfinite(() => client.collection<Order>("orders").find({ a: a.value }).sort("_id"), 1),
  )!;
  await opened(service);
  service.socket.welcome();
  answerSnapshot(service.socket, [{ _id: 1 }]);
  expect([list.data.value.length, list.hasMore.value, list.isLoadingMore.value]).toEqual([1, true, false]);
  list.more();
  expect([list.data.value.length, list.isLoadingMore.value]).toEqual([1, true]);
  a.value = 2;
  await nextTick();
  answerSnapshot(service.socket, [], 2);
  await untilPasses(() => expect(list.status.value).toBe("live"));
  expect([list.data.value, list.hasMore.value, list.isLoadingMore.value]).toEqual([[], false, false]);
});

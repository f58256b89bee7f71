// @vitest-environment happy-dom
import { expect, onTestFinished, test, vi } from "vitest";
import { createApp, createSSRApp, defineComponent, effectScope, h, nextTick, ref } from "vue";
import { renderToString } from "vue/server-renderer";
import { createClient } from "../../../src/client/client.ts";
import { tidewire, useLiveQuery, useTidewire } from "../../../src/vue/vue.ts";
import { FakeService } from "../../support/fake-service.ts";
import { added, answerSnapshot } from "../../support/scripted-client.ts";

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
const opened = (service: FakeService) => vi.waitFor(() => service.socket);

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
  await vi.waitFor(() => expect(container.textContent).toBe("live: 1,2 live: 1,2 "));
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
  await vi.waitFor(() => expect(service.socket.of("unsubscribe").length).toBe(1));
});

test("unmounting ends it", async () => {
  const { service, app } = await mount();
  service.socket.welcome();
  app.unmount();
  await vi.waitFor(() => expect(service.socket.closedWith).toBe(1000));
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
  await vi.waitFor(() => expect(service.socket.closedWith).toBe(1000));
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
  await vi.waitFor(() => expect(live?.data.value[0]?.count).toBe(4));
});

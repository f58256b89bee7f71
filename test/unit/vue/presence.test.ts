// @vitest-environment happy-dom
import { expect, onTestFinished, test } from "vitest";
import { createApp, defineComponent, h, nextTick, type Ref, ref } from "vue";
import { createClient } from "../../../src/client/client.ts";
import { usePresence } from "../../../src/vue/presence.ts";
import { tidewire } from "../../../src/vue/vue.ts";
import { FakeService } from "../../support/fake-service.ts";
import { answerSnapshot } from "../../support/scripted-client.ts";
import { untilPasses } from "../../support/until-passes.ts";

const { document } = globalThis as unknown as {
  document: { createElement(name: string): { textContent: string } };
}; // happy-dom's

async function mount(room: Ref<string | null>, data: Ref<object | undefined>) {
  const service = new FakeService();
  const client = createClient({
    url: "http://live.test",
    WebSocket: service.WebSocket,
    transports: ["ws"],
    lingerMs: 20,
  });
  const Room = defineComponent({
    setup() {
      // biome-ignore lint/correctness/useHookAtTopLevel: the rule is React's; this is where Vue calls them.
      const { entries, status, error } = usePresence(room, data);
      return () =>
        h("p", `${status.value} ${error.value?.code ?? ""} ${entries.value.map(({ user }) => user).join()}`);
    },
  });
  const container = document.createElement("div");
  const app = createApp(Room);
  app.use(tidewire(client));
  app.mount(container as unknown as Parameters<typeof app.mount>[0]); // an element of happy-dom
  onTestFinished(() => {
    app.unmount();
    client.close();
  });
  await untilPasses(() => service.socket);
  service.socket.welcome();
  const sent = () =>
    service.socket.sent.flatMap((message) =>
      message.type === "enter" || message.type === "leave"
        ? [`${message.type} ${"room" in message ? message.room : ""}`.trim()]
        : [],
    );
  return { service, app, container, sent };
}

test("is in the room while it is mounted, sends data that differ, and changes rooms", async () => {
  const [room, data] = [ref<string | null>("r1"), ref<object | undefined>({ mood: "good" })];
  const { service, app, container, sent } = await mount(room, data);
  answerSnapshot(service.socket, [{ _id: "1", room: "r1", user: "ada", data: null, since: "" }]);
  service.socket.tell({ type: "entered", id: service.socket.last("enter").id });
  await untilPasses(() => expect(container.textContent).toBe("present  ada"));
  data.value = { mood: "bad" };
  await nextTick();
  expect(service.socket.last("enter")).toMatchObject({ room: "r1", data: { mood: "bad" } });
  room.value = "r2";
  await untilPasses(() => expect(sent()).toEqual(["enter r1", "enter r1", "enter r2", "leave"]));
  app.unmount();
  await untilPasses(() => expect(sent().at(-1)).toBe("leave"));
});

test("shows why the room is closed to it, and enters none for nothing", async () => {
  const [room, data] = [ref<string | null>("r1"), ref<object | undefined>()];
  const { service, container, sent } = await mount(room, data);
  const { id } = service.socket.last("enter");
  service.socket.tell({ type: "error", id, code: "forbidden", message: "no", retry: "never" });
  await untilPasses(() => expect(container.textContent).toBe("left forbidden "));
  room.value = null;
  await nextTick();
  expect(sent()).toEqual(["enter r1"]);
  expect(container.textContent).toBe("entering  ");
});

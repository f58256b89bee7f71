// @vitest-environment happy-dom
import { act, createElement, type ReactNode, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { expect, onTestFinished, test, vi } from "vitest";
import { createClient } from "../../../src/client/client.ts";
import { usePresence } from "../../../src/react/presence.ts";
import { TidewireProvider } from "../../../src/react/react.ts";
import { FakeService } from "../../support/fake-service.ts";
import { answerSnapshot } from "../../support/scripted-client.ts";
import { untilPasses } from "../../support/until-passes.ts";

vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);

interface Page {
  createElement(name: string): { textContent: string };
}
const { document } = globalThis as unknown as { document: Page }; // happy-dom's, which the types do not know

function Room({ room, mood = "good" }: { room: string | null; mood?: string }): ReactNode {
  const { entries, status, error } = usePresence(room, { mood });
  return `${status} ${error?.code ?? ""} ${entries.map(({ user }) => user).join()}`;
}

function setUp() {
  const service = new FakeService();
  const client = createClient({
    url: "http://live.test",
    WebSocket: service.WebSocket,
    transports: ["ws"],
    lingerMs: 20,
  });
  const container = document.createElement("div");
  let root: Root | undefined;
  const unmount = () => act(async () => root?.unmount());
  onTestFinished(async () => {
    await unmount();
    client.close();
  });
  const render = (node: ReactNode) =>
    act(async () => {
      root ??= createRoot(container as unknown as Parameters<typeof createRoot>[0]); // an element of happy-dom
      root.render(createElement(TidewireProvider, { client }, node));
    });
  const sent = () =>
    service.socket.sent.flatMap((message) =>
      message.type === "enter" || message.type === "leave"
        ? [`${message.type} ${"room" in message ? message.room : ""}`.trim()]
        : [],
    );
  return { service, client, container, render, sent, unmount };
}

async function enterRoom({ service }: { service: FakeService }) {
  await act(async () => {
    service.socket.welcome();
    answerSnapshot(service.socket, [{ _id: "1", room: "r1", user: "ada", data: null, since: "" }]);
    service.socket.tell({ type: "entered", id: service.socket.last("enter").id });
  });
}
test("is in the room while it is mounted, once, also in strict mode, and shows everybody", async () => {
  const setup = setUp();
  await setup.render(createElement(StrictMode, null, createElement(Room, { room: "r1" })));
  await enterRoom(setup);
  await untilPasses(() => expect(setup.container.textContent).toBe("present  ada"));
  expect(setup.sent()).toEqual(["enter r1"]);
  await setup.unmount();
  await untilPasses(() => expect(setup.sent()).toEqual(["enter r1", "leave"]));
});

test("sends other data when they differ, and changes rooms", async () => {
  const setup = setUp();
  await setup.render(createElement(Room, { room: "r1" }));
  await enterRoom(setup);
  await setup.render(createElement(Room, { room: "r1", mood: "good" }));
  expect(setup.sent()).toEqual(["enter r1"]);
  await setup.render(createElement(Room, { room: "r1", mood: "bad" }));
  expect(setup.service.socket.last("enter").data).toEqual({ mood: "bad" });
  await setup.render(createElement(Room, { room: "r2", mood: "bad" }));
  await untilPasses(() => expect(setup.sent()).toEqual(["enter r1", "enter r1", "enter r2", "leave"]));
  await setup.render(createElement(Room, { room: null }));
  await untilPasses(() => expect(setup.sent().slice(4)).toEqual(["leave"]));
});

test("shows why the room is closed to it", async () => {
  const setup = setUp();
  await setup.render(createElement(Room, { room: "r1" }));
  await act(async () => {
    const { socket } = setup.service;
    socket.welcome();
    const { id } = socket.last("enter");
    socket.tell({ type: "error", id, code: "forbidden", message: "no", retry: "never" });
  });
  expect(setup.container.textContent).toBe("left forbidden ");
});

test("on the server nobody enters", () => {
  const { client, service } = setUp();
  const page = createElement(TidewireProvider, { client }, createElement(Room, { room: "r1" }));
  expect(renderToString(page)).toContain("entering");
  expect(service.sockets).toEqual([]);
});

/** Every way in takes a token in the one spelling in which it was signed. */
import { expect, test } from "vitest";
import { ask } from "../../support/http-client.ts";
import { startHttpService } from "../../support/http-service.ts";
import { RawSocketIo } from "../../support/raw-socketio.ts";
import { signToken } from "../../support/service.ts";
import { WsClient } from "../../support/ws-client.ts";

const SPELLINGS = [
  (token: string) => `${token}=`,
  (token: string) => token.replace(".", " ."),
  (token: string) => `${token}\u00a0`,
];

test.each(SPELLINGS)(
  "a token in another spelling is refused in hello, refresh, a header and Socket.IO's auth: %#",
  async (spell) => {
    const { url, base, connect, service } = await startHttpService({ server: { socketio: true } });
    const token = await signToken({ sub: "u1" });
    const other = spell(token);
    const wsUrl = `ws://127.0.0.1:${service.address.port}/v1/ws`;

    const hello = await WsClient.connect(wsUrl, { token: other });
    expect(hello.received).toMatchObject([{ type: "error", code: "unauthenticated" }]);
    expect((await hello.untilClosed()).code).toBe(4401);

    const refreshing = await connect({ sub: "u1" });
    refreshing.send({ type: "refresh", token: other });
    expect(await refreshing.until(({ type }) => type === "error")).toMatchObject({ code: "unauthenticated" });
    refreshing.send({ type: "refresh", token });
    await refreshing.until(({ type }) => type === "refreshed");

    const headers = { Authorization: `Bearer ${other}` };
    const upgraded = await WsClient.connect(wsUrl, { headers, silent: true });
    expect((await upgraded.untilClosed()).code).toBe(4401);
    for (const path of ["/v1/sse", "/v1/poll"])
      expect((await ask("GET", url(path), headers)).status).toBe(401);
    expect((await ask("POST", `${base}/v1/key`, headers)).status).toBe(401);

    const io = await RawSocketIo.open(base);
    io.socket.send(`40${JSON.stringify({ token: other })}`);
    expect(await io.until((packet) => packet.startsWith("44"))).toContain('"code":"unauthenticated"');
  },
);

test("a cookie and a token in the URL never authenticate, in any spelling", async () => {
  const { url } = await startHttpService();
  const token = await signToken({ sub: "u1" });
  expect(
    (await ask("GET", url("/v1/poll"), { Cookie: `token=${token}; Authorization=Bearer ${token}` })).status,
  ).toBe(401);
  expect((await ask("GET", url("/v1/poll", { token }))).status).toBe(400);
});

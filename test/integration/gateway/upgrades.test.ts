/** Requests that ask for a protocol which is not spoken here, and ways of polling which are not served. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { bearer, startHttpService } from "../../support/http-service.ts";

type Setup = Awaited<ReturnType<typeof startHttpService>>;

/** The answer to one raw request, until the service ends the socket. */
async function exchange({ service }: Setup, lines: readonly string[], body = ""): Promise<string> {
  const socket = connect(service.address.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.setEncoding("utf8");
  let text = "";
  socket.on("data", (part) => {
    text += part;
  });
  socket.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
  await once(socket, "close");
  return text;
}

/** As curl sends it with --http2. */
const H2C = [
  "Host: x",
  "Connection: Upgrade, HTTP2-Settings",
  "Upgrade: h2c",
  "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
];

test("[7] a request that would upgrade to h2c is answered over HTTP/1.1, and its socket ends", async () => {
  const setup = await startHttpService();
  await setup.items.insertOne({ _id: 1, owner: "u1" });
  const { Authorization } = await bearer();
  const asked = `GET /v1/poll?collection=items&wait=0 HTTP/1.1`;
  const answer = await exchange(setup, [asked, ...H2C, `Authorization: ${Authorization}`]);
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(answer).toContain("\r\nConnection: close\r\n");
  expect(answer).toContain('"_id":1');
  expect(await exchange(setup, ["GET /livez HTTP/1.1", ...H2C])).toContain('"alive"');
  expect(await exchange(setup, ["GET /nowhere HTTP/1.1", ...H2C])).toMatch(/^HTTP\/1\.1 404 /);
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
});

test("[7] a stream continues over HTTP/1.1 after such a request, and ends with its socket", async () => {
  const setup = await startHttpService();
  const { Authorization } = await bearer();
  const socket = connect(setup.service.address.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  let text = "";
  socket.setEncoding("utf8").on("data", (part) => {
    text += part;
  });
  socket.write(
    ["GET /v1/sse?collection=items HTTP/1.1", ...H2C, `Authorization: ${Authorization}`, "", ""].join("\r\n"),
  );
  await expect.poll(() => text).toContain("event: snapshot");
  await setup.items.insertOne({ _id: 2, owner: "u1" });
  await expect.poll(() => text).toContain("event: added");
  expect(setup.service.readiness().connections).toBe(1);
  socket.destroy();
  await expect.poll(() => setup.service.readiness().connections).toBe(0);
});

test("[7] a body that comes with such a request is not guessed at", async () => {
  const setup = await startHttpService();
  const answer = await exchange(setup, ["POST /v1/key HTTP/1.1", ...H2C, "Content-Length: 5"], "hello");
  expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
});

test("Socket.IO's polling by JSONP is refused, for a new session and for one that there is", async () => {
  const { base } = await startHttpService({ server: { socketio: true } });
  const open = await fetch(`${base}/socket.io/?EIO=4&transport=polling`);
  const { sid } = JSON.parse((await open.text()).slice(1));
  for (const more of ["&j=0", "&j=", `&j=0&sid=${sid}`]) {
    const answer = await fetch(`${base}/socket.io/?EIO=4&transport=polling${more}`);
    expect([more, answer.status]).toEqual([more, 400]);
    expect(await answer.json()).toMatchObject({ type: "error", code: "bad-request", details: { path: "j" } });
  }
  const posted = await fetch(`${base}/socket.io/?EIO=4&transport=polling&j=0&sid=${sid}`, {
    method: "POST",
    body: "d=40",
  });
  expect(posted.status).toBe(400);
});

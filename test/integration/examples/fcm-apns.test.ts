/** examples/webhooks/fcm-apns against stand-ins for Google and Apple, which check the requests as documented. */
import { generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { Program } from "../../support/program.ts";
import { ACCEPTED, forever, sinkMessage, targetOf } from "../../support/sink-messages.ts";

const SECRET = `whsec_${Buffer.alloc(32, 1).toString("base64")}`;

async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const textOf = async (request: IncomingMessage) => Buffer.concat(await request.toArray()).toString();

/** The header and the claims of a JWT with a valid signature. */
function readJwt(jwt: string, key: KeyObject) {
  const [header = "", claims = "", signature = ""] = jwt.split(".");
  const isGenuine = verify(
    "sha256",
    Buffer.from(`${header}.${claims}`),
    { key, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  expect(isGenuine).toBe(true);
  const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
  return { header: read(header), claims: read(claims) };
}

interface Sent {
  readonly path: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Record<string, unknown>;
}

/** Google: the token service, and FCM. A token `gone-…` is not registered any more, `busy-…` fails once. */
async function startGoogle(key: KeyObject) {
  const sent: Sent[] = [];
  let logins = 0;
  const busy = new Set<string>();
  const url = await listen(
    createServer(async (request, response) => {
      const text = await textOf(request);
      if (request.url === "/token") {
        logins++;
        const form = new URLSearchParams(text);
        expect(form.get("grant_type")).toBe("urn:ietf:params:oauth:grant-type:jwt-bearer");
        const { header, claims } = readJwt(form.get("assertion") ?? "", key);
        expect(header).toEqual({ alg: "RS256", typ: "JWT", kid: "key-1" });
        expect(claims).toMatchObject({
          iss: "push@project-1.iam.gserviceaccount.com",
          scope: "https://www.googleapis.com/auth/firebase.messaging",
          aud: `${url}/token`,
        });
        expect(claims.exp - claims.iat).toBe(3_600);
        response.end(JSON.stringify({ access_token: "ya29.abc", expires_in: 3_599 }));
        return;
      }
      const body = JSON.parse(text);
      sent.push({ path: request.url, headers: request.headers, body });
      const { token } = body.message;
      if (token.startsWith("gone-"))
        response
          .writeHead(404)
          .end('{"error":{"status":"NOT_FOUND","details":[{"errorCode":"UNREGISTERED"}]}}');
      else if (token.startsWith("busy-") && !busy.has(token)) {
        busy.add(token);
        response.writeHead(503).end("{}");
      } else response.end('{"name":"projects/project-1/messages/1"}');
    }),
  );
  return { url, sent, logins: () => logins };
}

/** Apple, over HTTP/2 without TLS. */
async function startApple() {
  const sent: Sent[] = [];
  const server = createHttp2Server((request, response) => {
    let text = "";
    request.on("data", (part) => {
      text += part;
    });
    request.on("end", () => {
      sent.push({ path: request.url, headers: request.headers, body: JSON.parse(text) });
      const isGone = request.url.endsWith("/gone");
      response.writeHead(isGone ? 410 : 200);
      response.end(isGone ? '{"reason":"Unregistered"}' : "");
    });
  });
  return { url: await listen(server), sent };
}

test("a webhook becomes notifications of FCM and APNs, and devices that are gone are forgotten", async () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  const ec = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const google = await startGoogle(rsa.publicKey);
  const apple = await startApple();
  const folder = await mkdtemp(join(tmpdir(), "tidewire-fcm-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const write = async (name: string, content: unknown) => {
    const file = join(folder, name);
    await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
    return file;
  };
  const pem = { type: "pkcs8", format: "pem" } as const;
  const env = {
    WEBHOOK_SECRET: SECRET,
    PORT: "0",
    USER_FIELD: "customer",
    DEVICES: await write("devices.json", {
      ada: [{ fcm: "android-1" }, { apns: "abc123" }],
      bob: [{ fcm: "gone-1" }, { apns: "gone" }, { fcm: "busy-1" }],
    }),
    GOOGLE_APPLICATION_CREDENTIALS: await write("account.json", {
      project_id: "project-1",
      client_email: "push@project-1.iam.gserviceaccount.com",
      private_key: rsa.privateKey.export(pem),
      private_key_id: "key-1",
      token_uri: `${google.url}/token`,
    }),
    FCM_URL: google.url,
    APNS_KEY_FILE: await write("key.p8", ec.privateKey.export(pem)),
    APNS_KEY_ID: "ABC123DEFG",
    APNS_TEAM_ID: "DEF123GHIJ",
    APNS_TOPIC: "com.example.orders",
    APNS_URL: apple.url,
  };
  const bridge = new Program(process.execPath, [join(ROOT, "examples/webhooks/fcm-apns/bridge.mjs")], env);
  await expect.poll(() => [...bridge.ofType("listening"), ...bridge.errors]).not.toEqual([]);
  const url = `http://127.0.0.1:${bridge.lines[0]?.["port"]}/`;
  const target = await targetOf({ webhook: { url, secret: SECRET, allowPrivate: true, timeoutMs: 60_000 } });
  const event = (id: string, doc: object) => sinkMessage(id, '"o1"', { type: "added", doc });

  expect(await target.send([event("c1.a", { customer: "ada", title: "Late" })], forever())).toEqual([
    ACCEPTED,
  ]);
  const data = { id: "c1.a", subject: '"o1"' };
  expect(google.sent).toMatchObject([
    {
      path: "/v1/projects/project-1/messages:send",
      headers: { authorization: "Bearer ya29.abc", "content-type": "application/json" },
      body: {
        message: {
          token: "android-1",
          notification: { title: "tidewire.orders.added", body: "Late" },
          data,
          android: { collapse_key: expect.stringMatching(/^[\w-]{43}$/), ttl: "3600s" },
        },
      },
    },
  ]);
  const [notified] = apple.sent;
  expect(notified).toMatchObject({
    path: "/3/device/abc123",
    headers: {
      ":method": "POST",
      "apns-topic": "com.example.orders",
      "apns-push-type": "alert",
      "apns-priority": "10",
      "apns-collapse-id": expect.stringMatching(/^[\w-]{43}$/),
    },
    body: { aps: { alert: { title: "tidewire.orders.added", body: "Late" }, sound: "default" }, ...data },
  });
  const [scheme, jwt = ""] = String(notified?.headers["authorization"]).split(" ");
  expect(scheme).toBe("bearer");
  const { header, claims } = readJwt(jwt, ec.publicKey);
  expect(header).toEqual({ alg: "ES256", typ: "JWT", kid: "ABC123DEFG" });
  expect(claims).toEqual({ iss: "DEF123GHIJ", iat: expect.any(Number) });

  // A device that cannot be reached now makes the service send the event again; those that are gone are left out then.
  const forBob = event("c2.a", { customer: "bob" });
  expect(await target.send([forBob], forever())).toMatchObject([{ kind: "unavailable" }]);
  await expect.poll(() => bridge.ofType("forgotten")).toHaveLength(2);
  expect(await target.send([forBob], forever())).toEqual([ACCEPTED]);
  const tokens = google.sent.map(({ body }) => (body["message"] as { token: string }).token);
  expect(tokens.filter((token) => token === "gone-1")).toHaveLength(1);
  expect(tokens.filter((token) => token === "busy-1")).toHaveLength(2);
  expect(apple.sent.filter(({ path }) => path === "/3/device/gone")).toHaveLength(1);

  // Users without devices, documents without users, and removals need no notification.
  expect(await target.send([event("c3.a", { customer: "eve" })], forever())).toEqual([ACCEPTED]);
  expect(await target.send([event("c4.a", { customer: "constructor" })], forever())).toEqual([ACCEPTED]);
  expect(await target.send([sinkMessage("c5.a", '"o1"', { type: "removed", _id: "o1" })], forever())).toEqual(
    [ACCEPTED],
  );
  expect(google.logins()).toBe(1);
});
